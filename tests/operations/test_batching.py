"""The batcher: what is written together, who waits for whom, and what becomes of charges when something breaks."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from groat_server.core.outcomes import Outcome
from groat_server.core.scopes import Scope
from groat_server.embedded.waiting import wait_for
from groat_server.errors import Busy
from groat_server.operations.batching import Bearer, StaleBearer
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.shared_settings import change_settings
from groat_server.operations.tokens import create_token, revoke_token
from groat_server.operations.usage import charge
from groat_server.operations.users import ExternalId, create_user
from groat_server.settings import QueueSettings
from tests.operations.ledgers import ask, connect, new_user, outcomes, use

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from groat_server.database import Address
    from groat_server.operations.usage import Receipt

pytestmark = pytest.mark.anyio

WAITING = """
    SELECT pid, query FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'groat' AND wait_event_type = 'Lock'
"""
BOOKED = "SELECT idempotency_key FROM credit_usage_events WHERE user_id = %s ORDER BY version"


@dataclass
class Figures:
    """What a batcher tells of itself."""

    batches: list[int] = field(default_factory=list)
    not_taken: int = 0

    def wrote(self, charges: int, seconds: float, queued: int) -> None:
        """Note a batch."""
        assert seconds >= 0 <= queued
        self.batches.append(charges)

    def refused(self, charges: int, queued: int) -> None:
        """Note charges that were not taken."""
        assert queued >= 0
        self.not_taken += charges


def figures(ledger: Ledger) -> Figures:
    """Watch the batcher of this ledger."""
    ledger.batcher.observer = observer = Figures()
    return observer


async def sent(ledger: Ledger, *usages: object, **said: object) -> asyncio.Task[list[Receipt]]:
    """Submit usages together and go on once they are in the queue."""
    task = asyncio.create_task(ledger.batcher.charge(list(usages), **said))  # type: ignore[arg-type] # as `charge` takes them
    await asyncio.sleep(0)
    return task


async def until_something_waits(address: Address) -> None:
    """Go on once a service waits for a lock."""
    assert await asyncio.to_thread(wait_for, lambda: ask(address, WAITING) != [], seconds=5)


@asynccontextmanager
async def in_flight(ledger: Ledger) -> AsyncIterator[asyncio.Task[list[Receipt]]]:
    """Keep a charge of somebody else in flight for as long as the block lasts: it waits for the table of events."""
    address = ledger.database.address
    somebody = await new_user(ledger)
    with connect(address) as other, other.transaction():
        other.execute("LOCK TABLE credit_usage_events IN SHARE MODE")
        first = await sent(ledger, use(somebody, "in flight"))
        await until_something_waits(address)
        yield first


@asynccontextmanager
async def locked(address: Address, user_id: int) -> AsyncIterator[None]:
    """Keep a user's balance locked for as long as the block lasts."""
    with connect(address) as other, other.transaction():
        other.execute("SELECT FROM user_credit_balances WHERE user_id = %s FOR UPDATE", (user_id,))
        yield


async def receipts_of(tasks: Sequence[asyncio.Task[list[Receipt]]]) -> list[Receipt]:
    return [receipt for receipts in await asyncio.gather(*tasks) for receipt in receipts]


def booked(address: Address, user_id: int) -> list[str]:
    """Return a user's keys in the order of booking."""
    return [key for (key,) in ask(address, BOOKED, [user_id])]


# --- what is written together -----------------------------------------------------------------------------------------


async def test_what_came_while_a_batch_was_in_flight_is_written_as_the_next_one(ledger: Ledger) -> None:
    users = [await new_user(ledger) for _ in range(3)]
    seen = figures(ledger)
    async with in_flight(ledger) as first:
        tasks = [await sent(ledger, use(users[n % 3], f"{n}")) for n in range(30)]
    assert outcomes(await receipts_of([first, *tasks])) == [Outcome.RECORDED] * 31
    assert seen.batches == [1, 30]
    for n, user_id in enumerate(users):
        assert booked(ledger.database.address, user_id) == [f"{key}" for key in range(n, 30, 3)]


async def test_a_charge_alone_is_written_alone_and_at_once(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    seen = figures(ledger)
    for n in range(3):
        assert outcomes(await charge(ledger, [use(user_id, f"{n}")])) == [Outcome.RECORDED]
    assert seen.batches == [1, 1, 1]


async def test_batches_are_of_whole_submissions_up_to_their_bound(ledger_address: Address) -> None:
    queue = QueueSettings(batch_max=10)
    async with open_ledger(ledger_address, provider_durability=True, queue=queue) as ledger:
        user_id = await new_user(ledger, 1000)
        seen = figures(ledger)
        async with in_flight(ledger):
            tasks = [
                await sent(ledger, *(use(user_id, f"{letter}{n}") for n in range(length)))
                for letter, length in (("a", 4), ("b", 6), ("c", 1), ("d", 25), ("e", 2))
            ]
        assert outcomes(await receipts_of(tasks)) == [Outcome.RECORDED] * 38
    assert seen.batches == [1, 10, 1, 25, 2]
    assert [key[0] for key in booked(ledger_address, user_id)] == [*"aaaabbbbbbc", *"d" * 25, *"ee"]


async def test_results_within_a_batch_are_as_if_each_charge_had_come_alone(ledger: Ledger) -> None:
    """Over one balance of ten: refused where it does not suffice, replayed where it is a repeat, in order."""
    user_id = await new_user(ledger, 10)
    asked = [("a", 6), ("b", 6), ("a", 6), ("c", 4), ("b", 0), ("d", 1)]
    async with in_flight(ledger):
        tasks = [await sent(ledger, use(user_id, key, credits_, enforce=True)) for key, credits_ in asked]
    found = await receipts_of(tasks)
    refused, recorded = Outcome.INSUFFICIENT_CREDITS, Outcome.RECORDED
    assert outcomes(found) == [recorded, refused, Outcome.REPLAYED, recorded, recorded, refused]
    assert [receipt.booking and receipt.booking.balance for receipt in found] == [4, None, 4, 0, 0, None]


async def test_a_poisoned_charge_fails_alone_among_five_hundred_callers(ledger: Ledger) -> None:
    """Taken out: the halves in `Booker.book`; then all five hundred fail."""
    users = [await new_user(ledger) for _ in range(5)]
    seen = figures(ledger)
    async with in_flight(ledger):
        tasks = [
            await sent(ledger, use(users[n % 5], f"{n}", metadata={"poison": "\0"} if n == 321 else None))
            for n in range(500)
        ]
    found = outcomes(await receipts_of(tasks))
    assert [n for n, outcome in enumerate(found) if outcome is not Outcome.RECORDED] == [321]
    assert found[321] is Outcome.FAILED
    assert seen.batches == [1, 500]
    assert booked(ledger.database.address, users[1]) == [f"{n}" for n in range(1, 500, 5) if n != 321]


# --- who sends, and whom they name ------------------------------------------------------------------------------------


async def test_a_batch_finds_whom_its_requests_name(ledger: Ledger) -> None:
    user = await create_user(ledger, "ann@example.com", external_id="acct 7")
    asked = [user.id, " Ann@Example.com", ExternalId("acct 7"), "nobody@example.com", ExternalId("nobody"), 10**9]
    async with in_flight(ledger):
        tasks = [await sent(ledger, use(None, f"{n}"), users=[name], bearer=None) for n, name in enumerate(asked)]
    found = await receipts_of(tasks)
    assert outcomes(found) == [Outcome.RECORDED] * 3 + [Outcome.UNKNOWN_USER] * 3
    assert [receipt.usage.user_id for receipt in found[:3]] == [user.id] * 3
    async with ledger.database.write() as connection:
        await change_settings(connection, create_users=True)
    (created,) = await ledger.batcher.charge([use(None, "new")], users=["new@example.com"])
    assert created.outcome is Outcome.RECORDED


async def test_whoever_is_not_let_in_any_more_is_not_charged_for(ledger: Ledger) -> None:
    """Taken out: the verification of bearers in `Batcher._admitted`; then all four are booked."""
    user_id = await new_user(ledger)
    tokens = [(await create_token(ledger, name=f"{n}", user_id=user_id)).row.id for n in range(2)]
    service = (await create_token(ledger, name="service", scopes=[Scope.USAGE_WRITE])).row.id
    await revoke_token(ledger, tokens[1])
    bearers = [Bearer(tokens[0], False), Bearer(tokens[1], False), Bearer(tokens[0], True), Bearer(service, False)]  # noqa: FBT003 - who it is, and whether an administrator
    async with in_flight(ledger):
        tasks = [await sent(ledger, use(user_id, f"{n}"), bearer=bearer) for n, bearer in enumerate(bearers)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in found] == [list, StaleBearer, StaleBearer, list]
    assert booked(ledger.database.address, user_id) == ["0", "3"]
    ask(ledger.database.address, "UPDATE users SET is_admin = true WHERE id = %s", [user_id])
    with pytest.raises(StaleBearer):
        await ledger.batcher.charge([use(user_id, "again")], bearer=bearers[0])
    assert outcomes(await ledger.batcher.charge([use(user_id, "again")], bearer=bearers[2])) == [Outcome.RECORDED]


async def test_a_name_that_cannot_be_looked_up_harms_nobody_else(ledger: Ledger) -> None:
    user = await create_user(ledger, "ann@example.com")
    async with in_flight(ledger):
        poisoned = await sent(ledger, use(None, "poisoned"), users=["\ud800@example.com"])
        good = await sent(ledger, use(None, "good"), users=["ann@example.com"])
    with pytest.raises(UnicodeEncodeError):
        await poisoned
    assert outcomes(await good) == [Outcome.RECORDED]
    assert booked(ledger.database.address, user.id) == ["good"]


# --- balances that somebody else keeps locked -------------------------------------------------------------------------


async def test_a_locked_balance_keeps_only_its_own_user_waiting_who_is_then_busy(
    ledger: Ledger, ledger_address: Address
) -> None:
    """All that others send is booked before the one user hears anything; no batch waits for the lock.

    Taken out: the side queue (the busy are answered at once); and, another time, `waits=False` of the main task.
    """
    user_id, others = await new_user(ledger), [await new_user(ledger) for _ in range(4)]
    async with locked(ledger_address, user_id):
        waiting = [await sent(ledger, use(user_id, f"{n}")) for n in range(3)]
        await until_something_waits(ledger_address)
        assert not any("charge_batch" in query for _, query in ask(ledger_address, WAITING))
        for n in range(40):
            assert outcomes(await charge(ledger, [use(others[n % 4], f"{n}")])) == [Outcome.RECORDED]
            assert not any(task.done() for task in waiting)
        mixed = await sent(ledger, *(use(each, "mixed") for each in (others[0], user_id, others[1])))
        assert outcomes(await receipts_of(waiting)) == [Outcome.BUSY] * 3
        assert outcomes(await mixed) == [Outcome.RECORDED, Outcome.BUSY, Outcome.RECORDED]
    assert booked(ledger_address, user_id) == []
    assert outcomes(await charge(ledger, [use(user_id, f"{n}") for n in range(3)])) == [Outcome.RECORDED] * 3


async def test_two_locked_balances_do_not_wait_for_one_another(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: `_sweep` and, in `_wait`, the turn that passes to others; then the second user is busy as well."""
    stuck, freed = await new_user(ledger), await new_user(ledger)
    async with locked(ledger_address, stuck):
        async with locked(ledger_address, freed):
            first = await sent(ledger, use(stuck, "key"))
            second = await sent(ledger, use(freed, "key"))
            await until_something_waits(ledger_address)
        assert outcomes(await second) == [Outcome.RECORDED]
        assert not first.done()
    assert outcomes(await first) == [Outcome.RECORDED]


async def test_charges_that_waited_for_a_balance_are_booked_in_the_order_in_which_they_came(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Those that come while it is free already included.

    Taken out: `has_taken` in `Batcher._write`; then a later charge is booked before those that waited.
    """
    user_id = await new_user(ledger)
    for attempt in range(10):
        async with locked(ledger_address, user_id):
            tasks = [await sent(ledger, use(user_id, f"{attempt}-{n}")) for n in range(3)]
            await until_something_waits(ledger_address)
        for n in range(3, 6):
            tasks.append(await sent(ledger, use(user_id, f"{attempt}-{n}")))
            await asyncio.sleep(0.001 * n)
        found = await receipts_of(tasks)
        assert outcomes(found) == [Outcome.RECORDED] * 6
        versions = [receipt.booking.version for receipt in found if receipt.booking]
        assert versions == sorted(versions)


async def test_the_side_queue_has_a_bound_as_well(ledger_address: Address) -> None:
    queue = QueueSettings(charges_max=5)
    async with open_ledger(ledger_address, provider_durability=True, queue=queue) as ledger:
        user_id, other = await new_user(ledger), await new_user(ledger)
        async with locked(ledger_address, user_id):
            tasks = []
            for n in range(7):
                tasks.append(await sent(ledger, use(user_id, f"{n}")))
                await charge(ledger, [use(other, f"{n}")])
            assert outcomes(await receipts_of(tasks[5:])) == [Outcome.BUSY] * 2
            assert not any(task.done() for task in tasks[:5])
        assert outcomes(await receipts_of(tasks[:5])) == [Outcome.RECORDED] * 5


# --- too much, going away, and the end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "fit"),
    [(QueueSettings(charges_max=4), 4), (QueueSettings(bytes_max=2 * 4500), 2)],
    ids=["count", "bytes"],
)
async def test_what_does_not_fit_in_the_queue_is_refused_at_once(
    ledger_address: Address, queue: QueueSettings, fit: int
) -> None:
    """Taken out: each of the two comparisons in `Batcher.charge`; then nothing is refused."""
    async with open_ledger(ledger_address, provider_durability=True, queue=queue) as ledger:
        user_id = await new_user(ledger)
        seen = figures(ledger)
        async with in_flight(ledger) as first:
            tasks = [await sent(ledger, use(user_id, f"{n}", metadata={"a": 1})) for n in range(fit)]
            assert ledger.batcher.queued == fit
            with pytest.raises(Busy) as refusal:
                await charge(ledger, [use(user_id, "too much", metadata={"a": 1})])
            assert not first.done()
        assert (refusal.value.problem_code, refusal.value.headers) == ("busy", {"Retry-After": "1"})
        assert outcomes(await receipts_of(tasks)) == [Outcome.RECORDED] * fit
        assert seen.not_taken == 1
        assert ledger.batcher.queued == 0
    assert booked(ledger_address, user_id) == [f"{n}" for n in range(fit)]


async def test_who_goes_away_is_charged_all_the_same(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: that a submission outlives its caller (`_take` passed over those whose future was cancelled)."""
    users = [await new_user(ledger) for _ in range(3)]
    async with in_flight(ledger) as first:
        tasks = [await sent(ledger, use(user_id, "key")) for user_id in users]
        for task in (first, *tasks[:2]):
            task.cancel()
        await asyncio.gather(first, *tasks[:2], return_exceptions=True)
        assert all(task.cancelled() for task in (first, *tasks[:2]))
    assert outcomes(await tasks[2]) == [Outcome.RECORDED]
    assert [booked(ledger_address, user_id) for user_id in users] == [["key"]] * 3
    assert ask(ledger_address, "SELECT count(*) FROM credit_usage_events") == [(4,)]


async def test_what_was_taken_is_written_before_the_ledger_closes(ledger_address: Address) -> None:
    """Charges in flight, in the queue and behind a locked balance; what comes then is refused.

    Taken out: the wait in `Batcher.close`; then those who wait hear nothing and nothing of it is booked.
    """
    opened = open_ledger(ledger_address, provider_durability=True)
    ledger = await opened.__aenter__()
    user_id, stuck = await new_user(ledger), await new_user(ledger)
    with connect(ledger_address) as other, other.transaction():
        other.execute("SELECT FROM user_credit_balances WHERE user_id = %s FOR UPDATE", (stuck,))
        waiting = await sent(ledger, use(stuck, "key"))
        await until_something_waits(ledger_address)
        async with in_flight(ledger) as first:
            tasks = [await sent(ledger, use(user_id, f"{n}")) for n in range(3)]
            closing = asyncio.create_task(opened.__aexit__(None, None, None))
            await asyncio.sleep(0)
            with pytest.raises(Busy) as refusal:
                await charge(ledger, [use(user_id, "late")])
            assert refusal.value.headers == {"Retry-After": "1"}
            assert not closing.done()
        assert outcomes(await receipts_of([first, *tasks])) == [Outcome.RECORDED] * 4
    assert outcomes(await waiting) == [Outcome.RECORDED]
    await closing
    assert booked(ledger_address, user_id) == ["0", "1", "2"]


# --- what breaks ------------------------------------------------------------------------------------------------------


def task_of(name: str) -> asyncio.Task[object]:
    """Find a task of a batcher."""
    (found,) = (task for task in asyncio.all_tasks() if task.get_name() == f"groat: {name}")
    return found


async def test_a_task_that_dies_is_started_again(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """What was in flight has an unknown outcome, what waited is written.

    Taken out: `call_later` in `Worker._ended`; then the queue is never written.
    """
    user_id = await new_user(ledger)
    async with in_flight(ledger) as first:
        queued = await sent(ledger, use(user_id, "key"))
        assert ledger.batcher.is_alive
        with caplog.at_level(logging.ERROR):
            task_of("the batcher").cancel()
            with pytest.raises(Busy) as refusal:
                await first
        assert refusal.value.problem_code == "outcome_unknown"
        assert not ledger.batcher.is_alive
    assert outcomes(await queued) == [Outcome.RECORDED]
    assert ledger.batcher.is_alive
    assert "the batcher has died and is started again" in caplog.text
    assert "CancelledError" in caplog.text


async def test_the_task_of_the_side_queue_is_started_again_too(ledger: Ledger, ledger_address: Address) -> None:
    user_id = await new_user(ledger)
    async with locked(ledger_address, user_id):
        waiting = await sent(ledger, use(user_id, "key"))
        await until_something_waits(ledger_address)
        task = task_of("the side queue")
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert not ledger.batcher.is_alive
    assert outcomes(await waiting) == [Outcome.RECORDED]
    assert ledger.batcher.is_alive


async def test_with_the_connection_the_batch_in_flight_is_lost_and_the_queue_is_not(
    ledger: Ledger, ledger_address: Address
) -> None:
    user_id = await new_user(ledger)
    async with in_flight(ledger) as first:
        queued = await sent(ledger, use(user_id, "key"))
        ask(ledger_address, f"SELECT pg_terminate_backend(pid, 5000) FROM ({WAITING}) AS waiting")  # noqa: S608
        with pytest.raises(Busy) as refusal:
            await first
    assert refusal.value.problem_code == "outcome_unknown"
    assert outcomes(await queued) == [Outcome.RECORDED]
    assert ledger.batcher.is_alive


async def test_a_connection_that_was_lost_while_idle_is_nobodys_trouble(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Taken out: the look at the connection in `Worker.connected`; then the second charge has an unknown outcome."""
    user_id = await new_user(ledger)
    await charge(ledger, [use(user_id, "a")])
    sessions = "SELECT pid FROM pg_stat_activity WHERE application_name = 'groat' AND datname = current_database()"
    ask(ledger_address, f"SELECT pg_terminate_backend(pid, 5000) FROM ({sessions}) AS idle")  # noqa: S608
    assert outcomes(await charge(ledger, [use(user_id, "b")])) == [Outcome.RECORDED]


# --- texts ------------------------------------------------------------------------------------------------------------


async def test_texts_of_any_content_are_stored_as_they_are(ledger: Ledger, ledger_address: Address) -> None:
    """In a batch of their own each, and together.

    Taken out: `_escaped`, each of its two replacements, and the look for quotes and backslashes in `texts`.
    """
    user_id = await new_user(ledger, 1000)
    hostile = [
        "",
        "NULL",
        "null",
        "{}",
        "a,b",
        '"',
        '""',
        "\\",
        '\\"',
        " a ",
        "\n\t",
        "é€😀",
        "{\"a\",'b'}",
        "a\\",
        "$1",
    ]
    said = [
        use(user_id, f"key {n} {text}", description=text, session_id=text or None, metadata={text: [text, None, 1.5]})
        for n, text in enumerate(hostile)
    ]
    assert outcomes(await charge(ledger, said)) == [Outcome.RECORDED] * len(hostile)
    again = [replace(each, idempotency_key=f"alone {each.idempotency_key}") for each in said]
    for each in again:
        assert outcomes(await charge(ledger, [each])) == [Outcome.RECORDED]
    columns = "idempotency_key, description, session_id, metadata::text"
    stored = ask(ledger_address, f"SELECT {columns} FROM credit_usage_events ORDER BY version")  # noqa: S608
    for (key, description, session_id, metadata), usage in zip(stored, said + again, strict=True):
        assert (key, description, session_id) == (usage.idempotency_key, usage.description, usage.session_id)
        assert json.loads(metadata) == usage.metadata


async def test_a_batch_larger_than_what_a_socket_takes_at_once_is_written(ledger: Ledger) -> None:
    """Taken out: the wait for room in `Wire._result`; then the server never gets the end of it."""
    user_id = await new_user(ledger, 1000)
    usages = [use(user_id, f"{n}", description="é" * 500, metadata={"a": "b" * 2000}) for n in range(1000)]
    assert outcomes(await charge(ledger, usages)) == [Outcome.RECORDED] * 1000
    assert booked(ledger.database.address, user_id) == [f"{n}" for n in range(1000)]


async def test_a_table_that_somebody_keeps_locked_makes_everybody_busy_and_nobody_lost(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Those included whom nobody knows: nobody has looked for them yet."""
    users = [await new_user(ledger), await new_user(ledger), None]
    with connect(ledger_address) as other, other.transaction():
        other.execute("LOCK TABLE credit_usage_events IN SHARE MODE")
        found = await charge(ledger, [use(user_id, "key") for user_id in users])
    assert outcomes(found) == [Outcome.BUSY] * 3
    again = await charge(ledger, [use(user_id, "key") for user_id in users])
    assert outcomes(again) == [Outcome.RECORDED, Outcome.RECORDED, Outcome.UNKNOWN_USER]


async def test_a_key_with_a_nul_is_not_cut_short(ledger: Ledger) -> None:
    """The server reads a parameter up to its first NUL; where that is an array, half of one is none to it either."""
    user_id = await new_user(ledger)
    assert outcomes(await charge(ledger, [use(user_id, "a\0b"), use(user_id, "c")])) == [
        Outcome.FAILED,
        Outcome.RECORDED,
    ]
