"""The live feed: all that is booked is told once, whatever the order of commits, and nothing grows without end."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.core.feed_rows import FeedFilter
from groat_server.core.seen import Seen
from groat_server.errors import Busy
from groat_server.operations import feed as feed_module
from groat_server.operations.corrections import Refund, Void, refund_event, void_event
from groat_server.operations.feed import Feed
from groat_server.operations.grants import Adjustment, Grant, adjust_credits, grant_credits
from groat_server.operations.ledger import open_ledger
from groat_server.operations.usage import charge
from groat_server.sql import source
from tests.operations.ledgers import ask, connect, new_user, rows, use
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from groat_server.core.feed_rows import FeedEvent
    from groat_server.database import Address
    from groat_server.operations.feed import Subscription
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

QUICK = 0.005
PATIENCE_SECONDS = 60
WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'groat reports' AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def opened(ledger: Ledger, *, look_max: int = 500) -> AsyncIterator[Feed]:
    """Open a feed that looks often."""
    feed = Feed(ledger, look_seconds=QUICK, look_max=look_max)
    try:
        yield feed
    finally:
        await feed.close()


async def until(holds: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():  # noqa: ASYNC110 - there is nothing that would say so
            await asyncio.sleep(0)


async def told(subscription: Subscription, until: Callable[[list[FeedEvent]], bool]) -> tuple[list[FeedEvent], int]:
    """Collect events, and how many were passed over, until there are enough."""
    events: list[FeedEvent] = []
    skipped = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not until(events):
            batch = await subscription.batch()
            assert batch is not None
            events += batch.events
            skipped += batch.skipped
    return events, skipped


async def told_keys(ledger: Ledger, subscription: Subscription, until: str) -> list[str]:
    """Return the keys of the charges that are told, until this one is."""
    wanted = await key_ids(ledger)
    events, _ = await told(subscription, lambda events: wanted[until] in {event.id for event in events})
    keys = {id_: key for key, id_ in wanted.items()}
    return [keys[event.id] for event in events]


async def key_ids(ledger: Ledger) -> dict[str, int]:
    """Return the ids of all charges by their keys."""
    async with ledger.database.read() as connection:
        found = await connection.execute("SELECT idempotency_key, id FROM credit_usage_events")
        return dict(await found.fetchall())


async def test_what_is_booked_is_told_once_and_in_full(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    await charge(ledger, [use(user_id, "before")])
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        usage = use(user_id, "lamp", action_type="chat", model="lamp", input_tokens=1_000_000, output_tokens=7)
        (receipt,) = await charge(ledger, [replace(usage, quantity=None)])
        assert receipt.booking is not None
        assert receipt.charge is not None
        await charge(ledger, [use(user_id, "after", 2)])
        after = (await key_ids(ledger))["after"]
        (first, second), skipped = await told(subscription, lambda events: after in {event.id for event in events})
    assert skipped == 0
    event_id = receipt.booking.event_id
    assert (first.kind, first.id, first.event_id, first.user_id) == ("usage", event_id, event_id, user_id)
    assert (first.action_type, first.model, first.input_tokens, first.output_tokens) == ("chat", "lamp", 1_000_000, 7)
    assert (first.credits, first.balance_after) == (receipt.charge.credits_charged, receipt.booking.balance)
    assert first.timestamp == first.recorded_at
    assert first.email is not None
    assert first.email.startswith("user-")
    assert (second.quantity, second.credits, second.model) == (Decimal(2), Decimal(2), None)


async def test_what_a_look_finds_again_is_not_told_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the server's clock was set back. Taken out: `not in self._seen`."""
    monkeypatch.setattr(Seen, "ids", lambda *_, **__: "{}")
    user_id = await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        await charge(ledger, [use(user_id, "one")])
        assert await told_keys(ledger, subscription, "one") == ["one"]
        await charge(ledger, [use(user_id, "two")])
        assert await told_keys(ledger, subscription, "two") == ["two"]


async def test_a_charge_whose_transaction_ends_later_than_that_of_a_newer_one_is_told(
    ledger: Ledger, ledger_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken out: the seconds that each look goes back (`_BACK`); the event of the open transaction was never told."""
    monkeypatch.setattr(feed_module, "_LOOKS_FAR", 10**9)
    early, other = await new_user(ledger), await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        with psycopg.connect(ledger_address.url, options=ledger_address.options()) as open_transaction:
            open_transaction.execute(call([RawCharge(user_ids=early, keys="early")]).encode())
            await charge(ledger, [use(other, "newer")])
            assert await told_keys(ledger, subscription, "newer") == ["newer"]
            open_transaction.commit()
        assert await told_keys(ledger, subscription, "early") == ["early"]
        await charge(ledger, [use(other, "last")])
        assert await told_keys(ledger, subscription, "last") == ["last"]
    ids = await key_ids(ledger)
    assert ids["early"] < ids["newer"]


async def test_a_charge_that_is_seen_half_a_minute_after_its_instant_is_told(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Taken out: the looks that go far back (`_LOOKS_FAR`)."""
    past = datetime.now(UTC) - timedelta(seconds=30)
    early = await new_user(ledger, created_at=past - timedelta(days=1))
    other = await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        with psycopg.connect(ledger_address.url, options=ledger_address.options()) as open_transaction:
            open_transaction.execute(call([RawCharge(user_ids=early, keys="early")], at=past).encode())
            await charge(ledger, [use(other, "newer")])
            assert await told_keys(ledger, subscription, "newer") == ["newer"]
        assert await told_keys(ledger, subscription, "early") == ["early"]


async def test_a_charge_within_a_savepoint_is_told_when_all_of_it_can_be_seen(
    ledger: Ledger, ledger_address: Address
) -> None:
    early, other = await new_user(ledger), await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        with psycopg.connect(ledger_address.url, options=ledger_address.options()) as open_transaction:
            open_transaction.execute("SAVEPOINT inner_one")
            open_transaction.execute(call([RawCharge(user_ids=early, keys="early")]).encode())
            open_transaction.execute("RELEASE inner_one")
            await charge(ledger, [use(other, "newer")])
            assert await told_keys(ledger, subscription, "newer") == ["newer"]
        assert await told_keys(ledger, subscription, "early") == ["early"]


async def test_a_use_of_last_week_that_is_booked_now_is_told_now(ledger: Ledger) -> None:
    """Taken out: the charges that say when they happened (`late`)."""
    user_id = await new_user(ledger, created_at=datetime.now(UTC) - timedelta(days=30))
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        week_ago = datetime.now(UTC) - timedelta(days=7)
        await charge(ledger, [use(user_id, "late", occurred_at=week_ago)])
        (event,), _ = await told(subscription, lambda events: len(events) > 0)
    assert event.timestamp == week_ago
    assert event.recorded_at - week_ago > timedelta(days=6)


async def test_a_subscription_begins_with_the_last_events_and_repeats_none(ledger: Ledger) -> None:
    """Taken out: what is left out because it was among the last ones (`_told_before`)."""
    user_id = await new_user(ledger, 10_000, created_at=datetime.now(UTC) - timedelta(days=30))
    week_ago = datetime.now(UTC) - timedelta(days=7)
    for number in range(3):
        await charge(ledger, [use(user_id, f"before {number}")])
    await charge(ledger, [use(user_id, "late", occurred_at=week_ago)])

    async def keep_charging() -> None:
        for number in range(60):
            await charge(ledger, [use(user_id, f"during {number:02}")])

    async with opened(ledger) as feed, feed.subscribe():  # so that somebody reads already
        charging = asyncio.create_task(keep_charging())
        async with feed.subscribe(last=4) as subscription:
            await charging
            keys = await told_keys(ledger, subscription, "during 59")
    every = ["before 0", "before 1", "before 2", "late", *(f"during {number:02}" for number in range(60))]
    assert keys == every[every.index(keys[0]) :]
    assert every.index(keys[0]) <= 4 + 60


async def test_all_that_many_writers_book_is_told_once(ledger: Ledger, ledger_address: Address) -> None:
    users = [await new_user(ledger, 10_000) for _ in range(8)]

    def write(user_id: int) -> None:
        with connect(ledger_address) as connection:
            for number in range(40):
                rows(connection, call([RawCharge(user_ids=user_id, keys=f"{number}")]))

    async with opened(ledger) as feed, feed.subscribe() as subscription:
        await asyncio.gather(*(asyncio.to_thread(write, user_id) for user_id in users))
        events, skipped = await told(subscription, lambda events: len(events) >= 8 * 40)
    assert skipped == 0
    assert sorted(event.id for event in events) == sorted(
        row[0] for row in ask(ledger_address, "SELECT id FROM credit_usage_events")
    )


async def test_of_more_than_a_look_takes_the_newest_are_told_and_the_others_counted(ledger: Ledger) -> None:
    """Taken out: `_floor`; what was passed over was told by the next look."""
    user_id = await new_user(ledger, 10_000)
    async with opened(ledger, look_max=10) as feed, feed.subscribe() as subscription:
        await charge(ledger, [use(user_id, f"many {number:03}") for number in range(300)])  # all of one instant
        await charge(ledger, [use(user_id, "next")])
        ids = await key_ids(ledger)
        events, skipped = await told(subscription, lambda events: ids["next"] in {event.id for event in events})
        assert len(events) + skipped == 301
        assert len(events) in {10, 11}
        assert [event.id for event in events][-2:] == [ids["many 299"], ids["next"]]
        await charge(ledger, [use(user_id, "last")])
        assert await told_keys(ledger, subscription, "last") == ["last"]


async def test_who_does_not_keep_up_loses_the_oldest_and_is_told_how_many(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken out: `_shorten`."""
    monkeypatch.setattr(feed_module, "QUEUE_MAX", 5)
    user_id = await new_user(ledger, 10_000)
    async with opened(ledger) as feed, feed.subscribe() as slow, feed.subscribe() as quick:
        for number in range(12):
            await charge(ledger, [use(user_id, f"{number:02}")])
            assert await told_keys(ledger, quick, f"{number:02}") == [f"{number:02}"]
        batch = await slow.batch()
    assert batch is not None
    assert (len(batch.events), batch.skipped) == (5, 7)
    assert [event.id for event in batch.events] == sorted((await key_ids(ledger)).values())[-5:]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (FeedFilter(), ["a", "b", "c", "d"]),
        (FeedFilter(action_type="chat"), ["c", "d"]),
        (FeedFilter(model="lamp"), ["c"]),
        (FeedFilter(credits_least=Decimal(3)), ["b", "c"]),
        (FeedFilter(user_id=-1), []),
    ],
    ids=["all", "action type", "model", "credits", "user"],
)
async def test_only_what_is_wanted_is_told_past_and_new(
    ledger: Ledger, wanted: FeedFilter, expected: list[str]
) -> None:
    user_id = await new_user(ledger, 10_000)

    async def book(prefix: str) -> None:
        await charge(ledger, [use(user_id, f"{prefix}a", 1), use(user_id, f"{prefix}b", 3)])
        chat = replace(use(user_id, f"{prefix}c"), action_type="chat", quantity=None, input_tokens=1_000_000)
        await charge(ledger, [replace(chat, model="lamp")])
        await charge(ledger, [replace(chat, idempotency_key=f"{prefix}d", input_tokens=0, model="gpt-4o")])

    await book("past ")
    async with opened(ledger) as feed, feed.subscribe() as every, feed.subscribe(wanted, last=100) as some:
        await book("new ")
        await told_keys(ledger, every, "new d")
        batch = await some.batch(seconds=0)
        keys = {id_: key for key, id_ in (await key_ids(ledger)).items()}
        got = [] if batch is None else [keys[event.id] for event in batch.events]
    assert got == [f"past {key}" for key in expected] + [f"new {key}" for key in expected]


async def test_one_users_past_is_found_however_much_others_have_used(ledger: Ledger) -> None:
    user_id, other = await new_user(ledger), await new_user(ledger, 10_000)
    await charge(ledger, [use(user_id, "own")])
    await charge(ledger, [use(other, f"{number}") for number in range(50)])
    feed = Feed(ledger)
    (event,) = await feed.newest(FeedFilter(user_id=user_id), 20)
    assert event.id == (await key_ids(ledger))["own"]


async def test_acts_are_told_as_their_own_kind(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        await charge(ledger, [use(user_id, "a", 5), use(user_id, "b", 7)])
        first, second = sorted((await key_ids(ledger)).values())
        by = {"user_id": user_id, "reason": "why", "actor": "cli:test"}
        await grant_credits(ledger, Grant(key="g", kind="purchase", amount=Decimal(11), **by))  # type: ignore[arg-type] # shared
        await adjust_credits(ledger, Adjustment(key="j", amount=Decimal(-2), **by))  # type: ignore[arg-type] # shared
        await refund_event(ledger, Refund(key="r", event_id=first, amount=Decimal(3), **by))  # type: ignore[arg-type] # shared
        await void_event(ledger, Void(key="v", event_id=second, **by))  # type: ignore[arg-type] # shared
        events, _ = await told(subscription, lambda events: "void" in {event.kind for event in events})
        acts = [(event.kind, event.credits, event.event_id, event.actor) for event in events if event.is_act]
        assert acts == [
            ("grant", Decimal(11), None, "cli:test"),
            ("adjustment", Decimal(-2), None, "cli:test"),
            ("refund", Decimal(3), first, "cli:test"),
            ("void", Decimal(7), second, "cli:test"),
        ]
        assert {event.user_id for event in events} == {user_id}
        past = await feed.newest(last=3)
        assert [event.kind for event in past] == ["adjustment", "refund", "void"]
        assert await feed.newest(FeedFilter(action_type="unit"), 10) == [
            event for event in await feed.newest(last=10) if event.id == first and not event.is_act
        ]


async def test_who_begins_is_told_nothing_of_before_though_others_were_there(ledger: Ledger) -> None:
    """Taken out: the look before the reader begins again."""
    user_id = await new_user(ledger)
    async with opened(ledger) as feed:
        async with feed.subscribe():
            pass
        await until(lambda: not feed.is_reading)
        await charge(ledger, [use(user_id, "between")])
        async with feed.subscribe() as subscription:
            await charge(ledger, [use(user_id, "new")])
            assert await told_keys(ledger, subscription, "new") == ["new"]


async def test_who_comes_back_goes_on_where_it_was(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    async with opened(ledger) as feed:
        async with feed.subscribe() as subscription:
            await charge(ledger, [use(user_id, "a")])
            batch = await subscription.batch()
            assert batch is not None
        await until(lambda: not feed.is_reading)
        await charge(ledger, [use(user_id, "b"), use(user_id, "c")])
        async with feed.subscribe(after=batch.position, last=100) as subscription:
            await charge(ledger, [use(user_id, "d")])
            assert await told_keys(ledger, subscription, "d") == ["b", "c", "d"]


@pytest.mark.parametrize("position", ["", "x", "00000000-5", "-1", "²-²"])
async def test_a_position_that_nobody_gave_begins_like_none(ledger: Ledger, position: str) -> None:
    user_id = await new_user(ledger)
    await charge(ledger, [use(user_id, "a"), use(user_id, "b")])
    async with opened(ledger) as feed, feed.subscribe(after=position, last=1) as subscription:
        assert await told_keys(ledger, subscription, "b") == ["b"]


async def test_who_comes_back_too_late_is_told_how_many_were_missed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "QUEUE_MAX", 3)
    user_id = await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as every:
        position = feed.position
        for key in "abcde":
            await charge(ledger, [use(user_id, key)])
            await told_keys(ledger, every, key)
        async with feed.subscribe(after=position) as subscription:
            batch = await subscription.batch()
    assert batch is not None
    assert (len(batch.events), batch.skipped) == (3, 2)


async def test_nobody_reads_where_nobody_is_subscribed(ledger: Ledger) -> None:
    """Taken out: `while self._subscriptions`."""
    async with opened(ledger) as feed:
        assert not feed.is_reading
        async with feed.subscribe(), feed.subscribe():
            assert feed.subscribers == 2
            assert feed.is_reading
        await until(lambda: not feed.is_reading)


async def test_the_end_of_the_feed_ends_its_subscriptions_at_once(ledger: Ledger) -> None:
    feed = Feed(ledger, look_seconds=PATIENCE_SECONDS * 10)
    async with feed.subscribe() as subscription:
        waiting = asyncio.create_task(subscription.batch())
        await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await feed.close()
            assert await waiting is None
            assert [batch async for batch in subscription] == []
    async with feed.subscribe(last=5) as late:
        assert await late.batch() is None
    assert not feed.is_reading


async def test_what_is_booked_while_the_feed_cannot_read_is_told_afterwards(
    ledger: Ledger, ledger_address: Address
) -> None:
    user_id = await new_user(ledger)
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        with (
            connect(ledger_address) as connection,
            psycopg.connect(ledger_address.url, options=ledger_address.options()) as blocker,
        ):
            # A lock that no look gets past keeps the reader waiting; then its connection is ended.
            rows(connection, call([RawCharge(user_ids=user_id, keys="a")]))
            blocker.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
            await until(lambda: rows(connection, WAITING))
            rows(connection, "SELECT pg_terminate_backend(%s)", rows(connection, WAITING)[0])
            await until(lambda: feed.trouble is not None)
        assert await told_keys(ledger, subscription, "a") == ["a"]
        assert feed.trouble is None


async def test_what_is_booked_in_an_outage_that_follows_on_quiet_is_told_afterwards(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Taken out: the instant of the first look, which found nothing; only the last minute was looked through."""
    now = datetime.now(UTC)
    user_id = await new_user(ledger, created_at=now - timedelta(days=1))
    async with opened(ledger) as feed, feed.subscribe() as subscription:
        assert feed._looked_at is not None  # noqa: SLF001 - nobody waits for minutes
        feed._looked_at -= timedelta(minutes=5)  # noqa: SLF001 - as if nothing could be read since
        with connect(ledger_address) as connection:
            rows(connection, call([RawCharge(user_ids=user_id, keys="away")], at=now - timedelta(minutes=4)))
        await charge(ledger, [use(user_id, "back")])
        assert await told_keys(ledger, subscription, "back") == ["away", "back"]


async def test_closing_does_not_wait_for_a_look_that_takes_long(
    ledger_address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken out: `cancel` in `close`."""
    monkeypatch.setattr("groat_server.database.READ_TIMEOUT", "10min")
    async with open_ledger(ledger_address, provider_durability=True) as ledger:
        feed = Feed(ledger, look_seconds=QUICK)
        async with feed.subscribe():
            with (
                connect(ledger_address) as connection,
                psycopg.connect(ledger_address.url, options=ledger_address.options()) as blocker,
            ):
                blocker.execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
                await until(lambda: rows(connection, WAITING))
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await feed.close()
                assert not feed.is_reading


async def test_a_reader_that_fails_in_a_way_nobody_foresaw_tells_its_subscribers(
    ledger: Ledger, ledger_address: Address
) -> None:
    async with opened(ledger) as feed:
        async with feed.subscribe() as subscription:
            ask(ledger_address, "ALTER TABLE audit_log RENAME TO audit_log_away")
            with pytest.raises(psycopg.errors.UndefinedTable):
                await told(subscription, lambda _: False)
            ask(ledger_address, "ALTER TABLE audit_log_away RENAME TO audit_log")
        user_id = await new_user(ledger)
        async with feed.subscribe() as subscription:
            await charge(ledger, [use(user_id, "a")])
            assert await told_keys(ledger, subscription, "a") == ["a"]


async def test_a_subscription_to_a_ledger_that_cannot_be_read_is_refused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("groat_server.database.POOL_WAIT_SECONDS", 0.0)
    async with opened(ledger) as feed:
        async with ledger.database.read(), ledger.database.read(), ledger.database.read(), ledger.database.read():
            ledger.database._reads.timeout = 0  # noqa: SLF001 - so that the test need not wait five seconds
            with pytest.raises(Busy):
                async with feed.subscribe():
                    pass
        assert feed.subscribers == 0


async def test_a_look_finds_its_charges_by_index_also_under_a_plan_for_all_parameters(ledger_address: Address) -> None:
    """Taken out: credit_usage_events_late_idx."""
    with connect(ledger_address, enable_seqscan="off", plan_cache_mode="force_generic_plan") as connection:
        plan = _generic_plan(connection, source("feed/booked"))
    used = {line.split("using ")[1].split(" ")[0] for line in plan if " using " in line}
    assert {"credit_usage_events_created_at_idx", "credit_usage_events_late_idx", "audit_log_pkey"} <= used
    assert not [line for line in plan if "Seq Scan on credit_usage_events" in line or "Seq Scan on audit_log" in line]
    assert len([line for line in plan if "hashed SubPlan" in line]) == 3


async def test_the_live_view_reads_its_events_by_index(ledger_address: Address) -> None:
    with connect(ledger_address, enable_seqscan="off", plan_cache_mode="force_generic_plan") as connection:
        plan = _generic_plan(connection, source("feed/active_users"))
    assert any("using credit_usage_events_created_at_idx" in line for line in plan)
    assert any("Index Cond: (created_at >= COALESCE" in line for line in plan)


def _generic_plan(connection: psycopg.Connection[tuple[object, ...]], text: str) -> list[str]:
    """Return the plan that a statement has for whatever parameters."""
    names: dict[str, int] = {}
    numbered = re.sub(
        r"(?<![:\w]):([a-z_]+)",
        lambda found: f"${names.setdefault(found[1], len(names) + 1)}",
        re.sub(r"--[^\n]*", "", text),
    )
    connection.execute(f"PREPARE asked AS {numbered}".encode())
    nulls = ", ".join("NULL" for _ in names)
    return [str(line) for (line,) in rows(connection, f"EXPLAIN EXECUTE asked({nulls})")]
