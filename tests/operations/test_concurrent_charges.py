"""Charges that meet: in the database's own functions through psql, and through the operations of two services."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from groat_server.core.outcomes import Outcome
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.prices import set_pricing
from groat_server.operations.usage import charge
from tests.operations.ledgers import ask, new_user, outcomes, use
from tests.operations.psql import Psql, psql
from tests.operations.raw_charges import RawCharge, call, enforced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from groat_server.core.usage import Usage
    from groat_server.database import Address
    from groat_server.embedded import Server
    from groat_server.operations.usage import Receipt


@pytest.fixture
def sessions(server: Server, ledger_address: Address) -> Iterator[tuple[Psql, Psql]]:
    """Open two psql sessions on the test's ledger."""
    with psql(server, ledger_address) as one, psql(server, ledger_address) as other:
        yield one, other


@pytest.fixture
async def services(ledger_address: Address) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Open the test's ledger twice, as two services do, their price books read."""
    async with two_ledgers(ledger_address) as ledgers:
        for ledger in ledgers:
            async with ledger.database.write() as connection:
                await ledger.book(connection)
        yield ledgers


@asynccontextmanager
async def two_ledgers(address: Address) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Open the ledger twice."""
    async with (
        open_ledger(address, provider_durability=True) as one,
        open_ledger(address, provider_durability=True) as other,
    ):
        yield one, other


def _user(session: Psql, email: str, allowance: int = 10) -> int:
    values = f"('{email}', {allowance})"
    statement = f"INSERT INTO users (email, opening_allowance) VALUES {values} RETURNING id"  # noqa: S608
    return int(session.run(statement)[0][0])


# --- the SQL function from two psql sessions --------------------------------------------------------------------------


def test_a_repeat_that_waited_for_the_first_is_replayed(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    """Taken out: the lock on the balance; then the second fails on the unique key."""
    one, other = sessions
    statement = call([RawCharge(user_ids=_user(one, "a@example.com"), keys="key")])
    one.run("BEGIN")
    (first,) = one.run(statement)
    other.send(statement)
    assert other.waits(ledger_address)
    one.run("COMMIT")
    assert first[0] == "recorded"
    assert other.answer() == [["replayed", *first[1:]]]


def test_a_repeat_of_a_charge_that_was_rolled_back_is_the_first(
    sessions: tuple[Psql, Psql], ledger_address: Address
) -> None:
    one, other = sessions
    statement = call([RawCharge(user_ids=_user(one, "a@example.com"), keys="key")], columns="outcome, balance, version")
    one.run("BEGIN")
    first = one.run(statement)
    other.send(statement)
    assert other.waits(ledger_address)
    one.run("ROLLBACK")
    assert other.answer() == first == [["recorded", "9", "2"]]


def test_other_content_that_waited_for_the_first_conflicts(
    sessions: tuple[Psql, Psql], ledger_address: Address
) -> None:
    one, other = sessions
    user_id = _user(one, "a@example.com")
    one.run("BEGIN")
    one.run(call([RawCharge(user_ids=user_id, keys="key", inputs=1)]))
    other.send(call([RawCharge(user_ids=user_id, keys="key", inputs=2), RawCharge(user_ids=user_id, keys="new")]))
    assert other.waits(ledger_address)
    one.run("COMMIT")
    assert [row[0] for row in other.answer()] == ["idempotency_conflict", "recorded"]


def test_the_floor_is_checked_after_waiting(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    """Taken out: the lock on the balance; then the second also sees 10 and both pass."""
    one, other = sessions
    user_id = _user(one, "a@example.com")
    one.run("BEGIN")
    one.run(call([enforced(user_id, "a", 6)]))
    other.send(call([enforced(user_id, "b", 6), enforced(user_id, "c", 3), enforced(user_id, "d", 2)]))
    assert other.waits(ledger_address)
    one.run("COMMIT")
    assert [(row[0], row[3]) for row in other.answer()] == [
        ("insufficient_credits", "4"),
        ("recorded", "1"),
        ("insufficient_credits", "1"),
    ]


def test_the_instant_is_read_after_waiting(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    """Taken out: clock_timestamp(), for now(), which is when the call began."""
    one, other = sessions
    user_id = _user(one, "a@example.com")
    one.run("BEGIN")
    one.run(call([RawCharge(user_ids=user_id, keys="a")]))
    other.send(call([RawCharge(user_ids=user_id, keys="b")], columns="instant"))
    assert other.waits(ledger_address)
    ((waiting,),) = ask(ledger_address, "SELECT clock_timestamp()")
    one.run("COMMIT")
    ((instant,),) = other.answer()
    assert datetime.fromisoformat(instant) > waiting


def test_batches_over_the_same_users_in_opposite_order_wait_and_do_not_deadlock(
    sessions: tuple[Psql, Psql], ledger_address: Address
) -> None:
    """The first user's lock stops the second batch before it has what the first session wants next.

    Taken out: `ORDER BY user_id` before FOR NO KEY UPDATE (with an order of the input in its place).
    """
    one, other = sessions
    users = [_user(one, f"{n}@example.com") for n in range(4)]
    charges = [RawCharge(user_ids=user_id, keys=f"{user_id}") for user_id in users]
    one.run("BEGIN")
    one.run(call(charges[:1]))
    other.send(call(charges[::-1]))
    assert other.waits(ledger_address)
    # Were the locks taken in the order of the input, the other session held these three by now.
    assert [row[0] for row in one.run(call(charges[1:]))] == ["recorded"] * 3
    one.run("COMMIT")
    assert [row[0] for row in other.answer()] == ["replayed"] * 4


# --- many at once, through two services -------------------------------------------------------------------------------


async def _charge_each(services: tuple[Ledger, Ledger], usages: list[Usage]) -> list[Receipt]:
    """Charge all at the same time, each in a call of its own, half of them through each service."""
    answers = await asyncio.gather(*(charge(services[n % 2], [usage]) for n, usage in enumerate(usages)))
    return [receipt for (receipt,) in answers]


@pytest.mark.anyio
@pytest.mark.parametrize(("credits_", "fit"), [("1", 10), ("0.7", 14), ("3", 3)])
async def test_of_64_enforced_charges_at_once_exactly_as_many_pass_as_fit(
    services: tuple[Ledger, Ledger], credits_: str, fit: int
) -> None:
    """Taken out: FOR NO KEY UPDATE."""
    user_id = await new_user(services[0], 10)
    receipts = await _charge_each(services, [use(user_id, f"{n}", credits_, enforce=True) for n in range(64)])
    assert outcomes(receipts).count(Outcome.RECORDED) == fit
    assert outcomes(receipts).count(Outcome.INSUFFICIENT_CREDITS) == 64 - fit
    left = ask(services[0].database.address, "SELECT current_balance FROM user_credit_balances")
    assert left == [(10 - fit * Decimal(credits_),)]


@pytest.mark.anyio
async def test_mixed_enforced_charges_at_once_never_overdraw(services: tuple[Ledger, Ledger]) -> None:
    user_id = await new_user(services[0], 10)
    sizes = [Decimal(1 + n % 5) for n in range(64)]
    receipts = await _charge_each(services, [use(user_id, f"{n}", size, enforce=True) for n, size in enumerate(sizes)])
    taken = sum(size for size, receipt in zip(sizes, receipts, strict=True) if receipt.outcome == Outcome.RECORDED)
    assert taken == 10
    refused = [receipt for receipt in receipts if receipt.outcome != Outcome.RECORDED]
    for receipt in refused:
        assert receipt.row is not None
        assert receipt.row.available is not None
        assert receipt.usage.quantity is not None
        assert receipt.usage.quantity > receipt.row.available


@pytest.mark.anyio
async def test_the_same_key_fifty_times_at_once_is_one_event_and_one_answer(services: tuple[Ledger, Ledger]) -> None:
    """Taken out: the probe for a stored key (the unique constraint then fails the repeats)."""
    user_id = await new_user(services[0])
    receipts = await _charge_each(services, [use(user_id, "key")] * 50)
    assert sorted(outcomes(receipts)) == [Outcome.RECORDED] + [Outcome.REPLAYED] * 49
    rows = [receipt.row for receipt in receipts if receipt.row is not None]
    answers = {
        (row.event_id, row.created_at, row.credits_charged, row.price_id, row.balance, row.available, row.version)
        for row in rows
    }
    assert len(answers) == 1
    assert ask(services[0].database.address, "SELECT count(*) FROM credit_usage_events") == [(1,)]


@pytest.mark.anyio
async def test_batches_in_opposite_orders_all_succeed(services: tuple[Ledger, Ledger]) -> None:
    """Taken out: `ORDER BY user_id` before FOR NO KEY UPDATE; then some are Busy by a deadlock."""
    users = [await new_user(services[0]) for _ in range(40)]
    batches = [[use(user_id, f"batch {n}") for user_id in (users if n % 2 else reversed(users))] for n in range(24)]
    answers = await asyncio.gather(*(charge(services[n // 12], batch) for n, batch in enumerate(batches)))
    assert {outcome for receipts in answers for outcome in outcomes(receipts)} == {Outcome.RECORDED}


@pytest.mark.anyio
async def test_many_first_charges_at_once_do_not_wait_for_the_price_book_in_vain(ledger_address: Address) -> None:
    """Whoever reads the price book needs a connection while the other calls may have them all."""
    async with open_ledger(ledger_address, provider_durability=True) as ledger:
        user_id = await new_user(ledger)
        receipts = await asyncio.gather(*(charge(ledger, [use(user_id, f"{n}")]) for n in range(64)))
    assert {outcome for answer in receipts for outcome in outcomes(answer)} == {Outcome.RECORDED}


@pytest.mark.anyio
async def test_a_price_change_under_many_charges_stalls_none(services: tuple[Ledger, Ledger]) -> None:
    user_id = await new_user(services[0])
    await _charge_each(services, [use(user_id, f"first {n}") for n in range(2)])
    async with services[0].database.write() as connection:
        await set_pricing(connection, multiplier=Decimal(2))
    receipts = await _charge_each(services, [use(user_id, f"{n}") for n in range(64)])
    assert set(outcomes(receipts)) == {Outcome.RECORDED}
