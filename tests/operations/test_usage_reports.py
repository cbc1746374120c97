"""The reports of a window: what the roll-ups answer is what the events do, and that is what Python counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groat_server.errors import NotFound, Unprocessable
from groat_server.operations.reports import (
    BUCKETS_MAX,
    REPORTS,
    EventPlace,
    Place,
    bind,
    events,
    explain_events,
    run_report,
    users,
)
from tests.conftest import fresh_ledger
from tests.operations.account import BIRTH, TICK, SqlAccount, day
from tests.operations.histories import make_history
from tests.operations.ledgers import connect
from tests.operations.test_rollups import MANY, STEPS, USERS, Story, answer, check, next_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

    from groat_server.database import Address
    from groat_server.embedded import Server
    from groat_server.operations.ledger import Ledger
    from groat_server.sql import Statement

HOUR = timedelta(hours=1)
ZONES = ["UTC", "Etc/UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Apia", "Pacific/Fiji"]
CROWD_NOW = day(120) + timedelta(hours=3, minutes=30)
CROWD_BACK = (0.05, 0.6, 1.1, 1.2, 3.4, 9, 35, 36.9, 70)
BY_WINDOW = ("usage", "usage-totals", "events", "anomalies")
_KEYS = "SELECT id, idempotency_key FROM credit_usage_events WHERE user_id = %s"
_FIGURES = ("events", "credits", "refunded_credits", "net_credits", "api_cost_dollars")


def capture(story: Story, user: int, action: str, *, is_captured: bool) -> None:
    """Place a hold, and perhaps charge the use that it is for."""
    account = story.users[user]
    hold = account.hold(story.key(), "0.5", story.at)["hold_id"]
    if hold is not None and is_captured:
        found = account.charge(story.key(), "0.4", story.at, holds=hold, actions=action, models="lamp")
        assert found["outcome"] == "recorded"
        story.events.append((account, found["event_id"]))


HOLDS = st.builds(
    lambda user, action, is_captured: lambda story: capture(story, user, action, is_captured=is_captured),
    USERS, st.sampled_from(["chat", "image"]), st.booleans(),
)  # fmt: skip


LIMITS = {
    "rollups/usage_by_user": {"<= 60000 AS is_short": "< 0 AS is_short", "LIMIT 3 * CAST(": "LIMIT CAST("},
    "rollups/usage_totals": {"<= 250000 AS is_short": "< 0 AS is_short"},
}
"""How few events are read rather than sums, and how many users are tried first: more than a ledger of tests has."""


def texts(statement: Statement[Any]) -> Iterator[str]:
    """Yield a statement as it stands, and as it goes about more users and events than tests have."""
    yield statement.source
    if statement.name in LIMITS:
        text: str = statement.source
        for limit, least in LIMITS[statement.name].items():
            assert text.count(limit) == 1
            text = text.replace(limit, least)
        yield text


def compare(connection: psycopg.Connection[Any], name: str, **given: Any) -> None:
    """Ask a report of the events, and of the roll-ups."""
    report = REPORTS[name]
    values = {each.variable: each.default for each in report.parameters} | dict(report.paging)
    values |= {key: value for key, value in given.items() if key in values}
    run = report.in_place(values)
    if run is not None:
        published = answer(connection, report.statement.source, values)
        for text in texts(run):
            assert answer(connection, text, values) == published, (run.name, values)


@pytest.fixture(scope="module")
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger in which nothing stays: each story is rolled back."""
    with fresh_ledger(server, template) as address:
        yield address


def _times(connection: psycopg.Connection[Any]) -> list[datetime]:
    rows = connection.execute("(SELECT created_at FROM credit_usage_events ORDER BY id DESC LIMIT 6)").fetchall()
    return [row[0] for row in rows]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), steps=st.lists(STEPS | HOLDS, min_size=1, max_size=12))
def test_the_reports_of_a_window_are_the_same_from_the_roll_ups(
    address: Address, data: st.DataObject, steps: Sequence[Callable[[Story], None]]
) -> None:
    """Windows begin and end anywhere, and most often at or beside an event, an hour or a day.

    Taken out, each noticed: in usage the hours before the whole days, the zone in what is taken for these; in
    usage_of_users the open day, whole or in part, and the refunds; in usage_totals the look into the index for who
    was active later too; in events the first hour of the window and the place of a page, of one user the open day.
    """
    with connect(address) as connection, connection.transaction(force_rollback=True):
        story = Story(connection)
        for step in steps:
            step(story)
        times = [story.at, BIRTH, *_times(connection)]

        def instant(label: str) -> datetime:
            near = data.draw(st.sampled_from(times), label=label)
            near = data.draw(st.sampled_from([near, next_turn(near, "hour"), next_turn(near, "day")]), label="turn")
            days = data.draw(st.sampled_from([0, 0, 1, -1, -3, -30]), label="days")
            shift = data.draw(
                st.sampled_from([-TICK, timedelta(0), TICK, timedelta(hours=5, minutes=30)]), label="shift"
            )
            return near + timedelta(days=days) + shift

        for number in range(5):
            since, until = sorted((instant("since"), instant("until")))
            filters = {
                "action_type": data.draw(st.sampled_from([None, None, "chat", "image"]), label="action"),
                "model": data.draw(st.sampled_from([None, None, "lamp"]), label="model"),
                "user_id": data.draw(st.sampled_from([None, None, story.users[0].user_id]), label="user"),
            }
            shape = {
                "bucket": data.draw(st.sampled_from(["hour", "day", "all"]), label="bucket"),
                "group": data.draw(st.sampled_from(["none", "action", "model", "user"]), label="group"),
                "time_zone": data.draw(st.sampled_from(ZONES), label="zone"),
                "series": data.draw(st.sampled_from([1, 2, 3, 20]), label="series"),
                "limit": data.draw(st.sampled_from([1, 2, 500]), label="limit"),
                "factor": data.draw(st.sampled_from([1, 2, 5]), label="factor"),
                "as_of": until,
            }
            place = (
                {"after_timestamp": data.draw(st.sampled_from(times)), "after_id": story.events[-1][1]}
                if (story.events and number % 2)
                else {}
            )
            for name in BY_WINDOW:
                compare(connection, name, since=since, until=until, **filters, **shape, **place)
            everything = {"action_type": None, "model": None, "user_id": None, "since": since, "until": until}
            compare(connection, "usage", **shape | {"group": "user"}, **everything)
            compare(connection, "usage-totals", **shape, **everything)
        assert check(connection) == []


@pytest.fixture(scope="module")
def crowd(server: Server, template: str) -> Iterator[psycopg.Connection[Any]]:
    """Lend a ledger of twelve users whom no bound tells apart as they are in a window.

    Some used the same, one most of it long ago, one in the month before, one on both sides of a window of one day, one
    what costs nothing; of some all was refunded or voided. Another writer voids, so that sums of one slot are negative.
    """
    with fresh_ledger(server, template) as address, connect(address) as connection:
        accounts = [SqlAccount.open(connection, 9999) for _ in range(12)]
        for number, account in enumerate(accounts):
            for place, back in enumerate(CROWD_BACK):
                amount, at = 1 + (number * 7 + place * 3) % 5, CROWD_NOW - timedelta(days=back, minutes=number)
                if number < 8 and (number + place) % 3:
                    account.charge(f"{place}", amount, CROWD_NOW, occurred=str(at), backfills=True)
        for number, amount, back in (
            (8, 500, 99), (9, 400, 36.5), (10, 0, 0.2), (10, 1, 0.73), (10, 1, 1.52), (11, 0, 0.7),
        ):  # fmt: skip
            at = CROWD_NOW - timedelta(days=back)
            accounts[number].charge(f"{back}", amount, CROWD_NOW, occurred=str(at), backfills=True)
        start = CROWD_NOW.replace(hour=0, minute=0) - timedelta(days=3)
        accounts[0].charge_all(
            [
                accounts[0].use(f"many {number}", 1, occurred=str(start + number * HOUR / 9), backfills=True)
                for number in range(MANY)
            ],
            CROWD_NOW,
        )
        assert connection.execute("SELECT add_up_actions(5)").fetchall() == [(1,)]
        for number in (7, 8, 9):
            account, at = accounts[number], CROWD_NOW - timedelta(days=2 + number / 10)
            account.charge("refunded", 3, CROWD_NOW, occurred=str(at), backfills=True)
            account.charge("voided", 300, CROWD_NOW, occurred=str(at + HOUR), backfills=True)
            ids = {row["idempotency_key"]: row["id"] for row in account.rows(_KEYS, account.user_id)}
            account.refund("refund", ids["refunded"], 3, CROWD_NOW)
            with connect(address) as other:
                replace(account, connection=other).void("void", ids["voided"], CROWD_NOW)
        assert check(connection) == []
        yield connection


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Pacific/Fiji"])
@pytest.mark.parametrize("series", [1, 3, 20])
def test_those_who_used_most_are_found_however_bounds_and_windows_lie(
    crowd: psycopg.Connection[Any], zone: str, series: int
) -> None:
    """All windows and buckets of the crowd.

    Taken out, each noticed: in usage_by_user each of the bounds, the ties that they are compared with, users of no
    credits, hours after the window, before it and of another day, what the sweep added up, and refunds; in usage_totals
    each of the three looks; in anomalies the partial day, the open one and those between, and how long the week is.
    """
    place = ZoneInfo(zone)
    for back, length in ((0, 1), (0, 3), (1, 1), (4, 3), (38, 38), (73, 45), (120, 200)):
        since = (CROWD_NOW.astimezone(place) - timedelta(days=back)).replace(hour=0, minute=0)
        for first, end in (
            (since, since + timedelta(days=length)),
            (since + 5 * HOUR, since + (length * 24 - 4) * HOUR),
        ):
            compare(crowd, "usage-totals", since=first, until=end, time_zone=zone)
            compare(crowd, "anomalies", as_of=first + HOUR / 2, limit=series, factor=series)
            for bucket in ("hour", "day", "all"):
                compare(
                    crowd, "usage", since=first, until=end, bucket=bucket, group="user", series=series, time_zone=zone
                )


@dataclass(frozen=True, slots=True)
class Counted:
    """What Python makes of an event: where it belongs, and its figures."""

    at: datetime
    user_id: int
    email: str
    action: str
    model: str | None
    credits: Decimal
    refunded: Decimal
    cost: Decimal


def _counted(account: SqlAccount) -> list[Counted]:
    """Return all events with what was given back of each."""
    refunds: defaultdict[tuple[int, int], Decimal] = defaultdict(Decimal)
    for entry in account.rows("SELECT * FROM credit_ledger_entries WHERE kind = 'refund'"):
        refunds[entry["user_id"], entry["event_id"]] += entry["amount"]
    found = account.rows(
        "SELECT event.*, users.email FROM credit_usage_events AS event JOIN users ON users.id = user_id"
    )
    return [
        Counted(
            row["created_at"], row["user_id"], row["email"], row["action_type"], row["model_used"],
            row["credits_charged"], refunds[row["user_id"], row["id"]], row["api_cost"] or Decimal(0),
        )
        for row in found
    ]  # fmt: skip


def _sums(some: Sequence[Counted]) -> tuple[object, ...]:
    credits_, refunded = sum(each.credits for each in some), sum(each.refunded for each in some)
    return len(some), credits_, refunded, credits_ - refunded, sum(each.cost for each in some)


def _figures(row: Any) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in _FIGURES)


GROUPS: Mapping[str, Callable[[Counted], str | None]] = {
    "none": lambda _each: None,
    "action": lambda each: each.action,
    "model": lambda each: each.model,
    "user": lambda each: each.email,
}


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _bucket(at: datetime, bucket: str, since: datetime, zone: str) -> datetime:
    """Return where the bucket of an event begins."""
    if bucket == "all":
        return since
    if bucket == "hour":
        return _hour(at)
    local = _hour(at).astimezone(ZoneInfo(zone))
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
async def test_usage_is_what_python_counts(ledger: Ledger, ledger_address: Address, seed: int, zone: str) -> None:
    with connect(ledger_address) as connection:
        history = make_history(connection, seed)
        account = history.accounts[0]
        every = _counted(account)
        for back, length, bucket in ((40, 40, "day"), (12.3, 9.1, "day"), (9, 3.7, "hour"), (30.01, 22, "all")):
            since = history.at - timedelta(days=back)
            until = since + timedelta(days=length)
            first, end = -((-since.timestamp()) // 3600) * 3600, -((-until.timestamp()) // 3600) * 3600
            inside = [each for each in every if first <= each.at.timestamp() < end]
            window = {"from": since, "to": until, "time_zone": zone}
            start = datetime.fromtimestamp(first, since.tzinfo)
            for group, name in GROUPS.items():
                expected: defaultdict[tuple[datetime, str | None], list[Counted]] = defaultdict(list)
                for each in inside:
                    expected[_bucket(each.at, bucket, start, zone), name(each)].append(each)
                rows = await run_report(ledger, "usage", **window, bucket=bucket, group=group, series=20)
                assert {(row.bucket, row.series): _figures(row) for row in rows} == {
                    key: _sums(some) for key, some in expected.items()
                }
                assert not any(row.is_other for row in rows)
            totals = await run_report(ledger, "usage-totals", **window)
            before = [each for each in every if 2 * first - end <= each.at.timestamp() < first]
            for row, some in zip(totals, (inside, before), strict=True):
                assert (_figures(row), row.active_users) == (_sums(some), len({each.user_id for each in some}))
            only = [each for each in inside if each.action == "chat" and each.user_id == account.user_id]
            filters: dict[str, Any] = {"from": since, "to": until, "action_type": "chat", "user": account.user_id}
            (row, _) = await run_report(ledger, "usage-totals", **filters)
            assert (_figures(row), row.active_users) == (_sums(only), min(1, len(only)))
            listed = await events(ledger, limit=500, **filters)
            exact = [each for each in every if since <= each.at < until and each.action == "chat"]
            assert [row.timestamp for row in listed] == sorted(
                (each.at for each in exact if each.user_id == account.user_id), reverse=True
            )


@pytest.fixture
def accounts(ledger: Ledger) -> Iterator[list[SqlAccount]]:
    """Lend four accounts that used 1, 2, 3 and 4 credits on one day, each of an action of its own."""
    with connect(ledger.database.address) as connection:
        made = [SqlAccount.open(connection, email=f"user-{number}@example.com") for number in range(4)]
        for number, account in enumerate(made):
            at = day(number / 10)
            account.charge("a", number + 1, at, occurred=str(at), actions=f"action-{number}")
        yield made


WINDOW: Mapping[str, Any] = {"from": BIRTH, "to": day(2), "bucket": "all"}


@pytest.mark.anyio
@pytest.mark.usefixtures("accounts")
@pytest.mark.parametrize("group", ["action", "user"])
async def test_the_most_used_keep_their_name_and_the_rest_are_one(ledger: Ledger, group: str) -> None:
    rows = await run_report(ledger, "usage", **WINDOW, group=group, series=2)
    names = [f"{group}-3", f"{group}-2"] if group == "action" else ["user-3@example.com", "user-2@example.com"]
    assert [(row.series, row.is_other, row.events, row.credits) for row in rows] == [
        (names[0], False, 1, 4), (names[1], False, 1, 3), (None, True, 2, 3),
    ]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"from": day(0), "to": day(-1)}, "to"),
        ({"from": day(0), "to": day(BUCKETS_MAX) + HOUR}, "from"),
        ({"from": day(0), "to": day(BUCKETS_MAX / 24) + HOUR, "bucket": "hour"}, "from"),
        ({"from": datetime.fromisoformat("2001-01-01T00:00:00Z")}, "from"),
        ({"time_zone": "Moon/Crater"}, "time_zone"),
        ({"model": "x" * 201}, "model"),
        ({"model": "line\nbreak"}, "model"),
        ({"series": 21}, "series"),
        ({"group": "nonsense"}, "group"),
    ],
)
async def test_a_window_that_cannot_be_shown_is_refused(ledger: Ledger, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        await bind(ledger, "usage", **given)
    errors: Any = refused.value.members["errors"]
    assert [error["field"] for error in errors] == [field]


@pytest.mark.anyio
async def test_a_window_of_as_many_buckets_as_can_be_is_taken(ledger: Ledger) -> None:
    assert await run_report(ledger, "usage", **{"from": day(0), "to": day(BUCKETS_MAX)}) == []
    assert await run_report(ledger, "usage", **{"from": day(0), "to": day(BUCKETS_MAX / 24), "bucket": "hour"}) == []
    assert await run_report(ledger, "usage", **{"from": day(-3000), "to": day(3000), "bucket": "all"}) == []
    with pytest.raises(NotFound):
        await bind(ledger, "usage", user=999)


@pytest.mark.anyio
async def test_without_a_window_it_is_thirty_days_up_to_now(ledger: Ledger, ledger_address: Address) -> None:
    with connect(ledger_address) as connection:
        (now,) = connection.execute("SELECT now()").fetchall()[0]
        account = SqlAccount.open(connection, created_at=now - timedelta(days=50))
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        for number, at in enumerate((now, midnight - timedelta(days=29), midnight - timedelta(days=29) - TICK)):
            account.charge(str(number), 1, now, occurred=str(at), backfills=True)
    rows = await run_report(ledger, "usage")
    assert [(row.bucket, row.events) for row in rows] == [(midnight - timedelta(days=29), 1), (midnight, 1)]
    assert [row.events for row in await run_report(ledger, "usage-totals")] == [2, 1]
    assert sum(row.events for row in await run_report(ledger, "usage", bucket="hour")) == 1
    assert [row.events for row in await run_report(ledger, "margin")] == [2]


@pytest.mark.anyio
@pytest.mark.parametrize("given", [{}, {"action_type": "chat"}, {"user": 1}, {"user": 1, "action_type": "chat"}])
async def test_pages_of_events_have_each_event_once_and_in_order(
    ledger: Ledger, ledger_address: Address, given: dict[str, Any]
) -> None:
    """Several stand at one instant. Taken out: the id in the place of a page, of one action type."""
    with connect(ledger_address) as connection:
        for _ in range(2):
            account = SqlAccount.open(connection)
            for number in range(9):
                at = day(1) + number // 4 * HOUR
                account.charge(str(number), 1, day(2), occurred=str(at), actions="chat" if number % 3 else "image")
        voided = account.row("SELECT max(id) AS id FROM credit_usage_events")["id"]
        account.void("void", voided, day(2))
    whole = await events(ledger, limit=500, **given)
    assert len(whole) == {0: 17, 1: 11 if "action_type" in given else 9, 2: 6}[len(given)]
    assert voided not in {row.id for row in whole}
    paged: list[Any] = []
    while True:
        after = EventPlace(paged[-1].timestamp, paged[-1].id) if paged else None
        page = await events(ledger, limit=4, after=after, **given)
        paged += page
        if len(page) < 4:
            break
    assert paged == whole == sorted(whole, key=lambda row: (row.timestamp, row.id), reverse=True)
    script = await explain_events(ledger, after=EventPlace(whole[0].timestamp, whole[0].id), **given)
    assert f"\\set after_id {whole[0].id}\n" in script


@pytest.mark.anyio
@pytest.mark.parametrize("sort_by", ["consumed", "total_consumed", "balance", "email", "next_reset_at"])
async def test_a_search_finds_parts_of_addresses_and_names_and_means_them_literally(
    ledger: Ledger, ledger_address: Address, sort_by: Any
) -> None:
    with connect(ledger_address) as connection:
        for number, name in enumerate(("Ann 100%", "ANN_B", "annab", None, "Ben")):
            SqlAccount.open(connection, email=f"person-{number}@example.com", full_name=name)
        SqlAccount.open(connection, email="hannah@example.com")

    async def found(search: str | None) -> set[str]:
        got: list[Any] = []
        while page := await users(
            ledger, limit=2, sort_by=sort_by, search=search,
            after=Place(got[-1].sort_number, got[-1].sort_text, got[-1].user_id) if got else None,
        ):  # fmt: skip
            got += page
        assert {row.total for row in got} == {len(got)} or not got
        assert len({row.user_id for row in got}) == len(got)
        return {row.full_name or row.email for row in got}

    assert await found("aNN") == {"Ann 100%", "ANN_B", "annab", "hannah@example.com"}
    assert await found("%") == {"Ann 100%"}
    assert await found("n_b") == {"ANN_B"}
    assert await found("'; DROP") == set()
    assert len(await found(None)) == 6
    assert len(await run_report(ledger, "users", search="person-", sort_by=sort_by)) == 5


@pytest.mark.anyio
async def test_a_list_of_users_tells_what_is_available_and_when_they_were_last_seen(
    ledger: Ledger, ledger_address: Address
) -> None:
    with connect(ledger_address) as connection:
        (now,) = connection.execute("SELECT now()").fetchall()[0]
        account = SqlAccount.open(connection, 100, created_at=now - HOUR, is_admin=True)
        account.charge("a", 10, now)
        account.hold("b", 30, now)
    (row,) = await users(ledger, limit=9, sort_by="email")
    assert (row.current_balance, row.available, row.last_event_at, row.is_admin) == (
        Decimal(90), Decimal(60), now, True,
    )  # fmt: skip


@pytest.mark.anyio
async def test_the_margin_is_of_each_events_own_credits_per_dollar(ledger: Ledger, ledger_address: Address) -> None:
    with connect(ledger_address) as connection:
        account = SqlAccount.open(connection)
        account.charge_all(
            [
                account.use("a", 10, models="lamp", occurred=str(day(1))),
                replace(account.use("b", 20, models="lamp", occurred=str(day(1)), rates="20"), costs="1"),
                account.use("c", 0, occurred=str(day(1))),
                account.use("d", 5, models="late", occurred=str(day(2))),
            ],
            day(2),
        )
        event = account.row("SELECT id FROM credit_usage_events WHERE idempotency_key = 'a'")["id"]
        account.refund("r", event, 4, day(2))
    rows = await run_report(ledger, "margin", **{"from": day(1), "to": day(2)})
    assert [
        (row.model, row.events, row.credits, row.value_dollars, row.api_cost_dollars, row.margin_dollars)
        for row in rows
    ] == [("lamp", 2, 26, Decimal("1.6"), 2, Decimal("-0.4")), (None, 1, 0, 0, 0, 0)]
    assert [row.margin_percent for row in rows] == [Decimal(-25), None]


@pytest.mark.anyio
async def test_models_without_a_price_are_told_with_their_tokens(ledger: Ledger, ledger_address: Address) -> None:
    with connect(ledger_address) as connection:
        account = SqlAccount.open(connection)
        uses = [("new", "fallback", 1), ("new", "fallback", 2), ("odd", "unpriced", 1), ("lamp", "caller", 1)]
        for number, (model, source, at) in enumerate(uses):
            account.charge(
                str(number), 0 if source == "unpriced" else 1, day(3), models=model, sources=source,
                prices=None, inputs=100, outputs=number, occurred=str(day(at)),
            )  # fmt: skip
    rows = await run_report(ledger, "unpriced-models", to=day(4))
    assert [
        (
            row.model,
            row.cost_source,
            row.events,
            row.input_tokens,
            row.output_tokens,
            row.first_seen_at,
            row.last_seen_at,
        )
        for row in rows
    ] == [("new", "fallback", 2, 200, 1, day(1), day(2)), ("odd", "unpriced", 1, 100, 2, day(1), day(1))]
    assert await run_report(ledger, "unpriced-models", to=day(9) + TICK) == []
    assert len(await run_report(ledger, "unpriced-models", to=day(8))) == 2


@pytest.mark.anyio
async def test_who_uses_much_more_than_before_is_told(ledger: Ledger, ledger_address: Address) -> None:
    now = day(40)
    with connect(ledger_address) as connection:
        steady, grown, new, small, just = (SqlAccount.open(connection, 9999) for _ in range(5))
        for account in (steady, grown, just):
            for number in range(1, 29):
                at = now - timedelta(days=number)
                account.charge(f"day {number}", 2, now, occurred=str(at), backfills=True)
        grown.charge("old", 500, now, occurred=str(now - timedelta(days=29)), backfills=True)
        for account, credits_ in ((steady, 3), (grown, "10.5"), (new, 1), (small, "0.99"), (just, 10)):
            account.charge("today", credits_, now, occurred=str(now - HOUR), backfills=True)
    rows = await run_report(ledger, "anomalies", as_of=now)
    assert [(row.user_id, row.credits_today, row.daily_mean, row.ratio) for row in rows] == [
        (grown.user_id, Decimal("10.5"), 2, Decimal("5.25")), (new.user_id, 1, 0, None),
    ]  # fmt: skip
    assert {row.user_id for row in await run_report(ledger, "anomalies", as_of=now, factor=1)} == {
        steady.user_id, grown.user_id, new.user_id, just.user_id,
    }  # fmt: skip
    with connect(ledger_address) as connection:
        connection.execute("SELECT anonymise_user_at(%s, %s, 'token:1')", [now, new.user_id])
    assert [row.user_id for row in await run_report(ledger, "anomalies", as_of=now)] == [grown.user_id]
