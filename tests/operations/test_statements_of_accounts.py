"""Time travel and statements: what was true at an instant stays what is told of it, whatever happens later."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from groat_server.errors import NotFound, Unprocessable
from groat_server.operations.statements import balance_at, make_statement
from groat_server.operations.usage import charge
from tests.operations.account import BIRTH, TICK, SqlAccount
from tests.operations.histories import History, make_history
from tests.operations.ledgers import connect, new_user, use

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio


@pytest.fixture(params=range(4))
def history(ledger_address: Address, request: pytest.FixtureRequest) -> Iterator[History]:
    """Lend a ledger with a random history."""
    with connect(ledger_address) as connection:
        yield make_history(connection, 100 + request.param)


async def test_a_past_balance_is_what_the_account_was_then(ledger: Ledger, history: History) -> None:
    """Noted after each act. Taken out: voided events at their place; voids; the ledger entries."""
    for (user_id, at), then in history.then.items():
        found = (await balance_at(ledger, user_id, at)).balance
        assert (found.balance, found.total_consumed, found.version) == (
            then.balance,
            then.total_consumed,
            then.version,
        ), (user_id, at)


async def test_statements_chain_and_their_lines_add_up(ledger: Ledger, history: History) -> None:
    """Taken out: the charges of events that were voided later; the lower bound of the lines."""
    end = history.at + timedelta(days=1)
    for account in history.accounts:
        bounds = [BIRTH - TICK, *sorted(at for user_id, at in history.then if user_id == account.user_id)[5::7], end]
        before = Decimal(0)
        kinds: set[str] = set()
        for start, stop in pairwise(bounds):
            if start == stop:
                continue
            made = await make_statement(ledger, account.user_id, start=start, end=stop)
            assert made.opening.balance == before
            before += sum(line.amount for line in made.lines)
            assert made.closing.balance == before
            kinds |= {line.kind for line in made.lines}
        assert before == (await balance_at(ledger, account.user_id, end - TICK)).balance.balance
        assert {"allowance", "charge"} <= kinds


async def test_a_voided_charge_stays_in_its_statement_and_its_void_stands_where_it_was_booked(
    ledger: Ledger, ledger_address: Address
) -> None:
    with connect(ledger_address) as connection:
        account = SqlAccount.open(connection)
        event = account.charge("a", 10, BIRTH + timedelta(days=1), actions="chat")["event_id"]
        account.charge("b", 3, BIRTH + timedelta(days=2), actions="chat")
        account.void("c", event, BIRTH + timedelta(days=3))
    first = await make_statement(ledger, account.user_id, start=BIRTH, end=BIRTH + timedelta(days=3))
    second = await make_statement(
        ledger, account.user_id, start=BIRTH + timedelta(days=3), end=BIRTH + timedelta(days=4)
    )
    assert [(line.kind, line.action_type, line.count, line.amount) for line in first.lines] == [
        ("allowance", None, 1, Decimal(100)),
        ("charge", "chat", 2, Decimal(-13)),
    ]
    assert [(line.kind, line.action_type, line.count, line.amount) for line in second.lines] == [
        ("void", "chat", 1, Decimal(10))
    ]
    assert (first.closing.balance, first.closing.total_consumed) == (Decimal(87), Decimal(13))
    assert (second.closing.balance, second.closing.total_consumed) == (Decimal(97), Decimal(3))


async def test_an_instant_is_in_the_balance_at_it_and_not_in_a_statement_until_it(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Taken out: the tick that a statement's bounds lie before."""
    at = BIRTH + timedelta(days=1)
    with connect(ledger_address) as connection:
        account = SqlAccount.open(connection)
        account.charge("a", 10, at)
    assert (await balance_at(ledger, account.user_id, at)).balance.balance == 90
    assert (await balance_at(ledger, account.user_id, at - TICK)).balance.balance == 100
    assert (await make_statement(ledger, account.user_id, start=BIRTH, end=at)).closing.balance == 100
    assert (await make_statement(ledger, account.user_id, start=at, end=at + TICK)).opening.balance == 100
    assert (await make_statement(ledger, account.user_id, start=at, end=at + TICK)).closing.balance == 90


async def test_a_reset_that_is_due_is_in_the_balance_of_its_instant_though_nobody_came_by(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Taken out: settling the account first."""
    with connect(ledger_address) as connection:
        account = SqlAccount.open(connection)
        account.charge("a", 10, BIRTH + timedelta(days=1))
        reset = account.row("SELECT next_reset_at FROM user_credit_balances WHERE user_id = %s", account.user_id)
    boundary = reset["next_reset_at"]
    assert (await balance_at(ledger, account.user_id, boundary - TICK)).balance.balance == 90
    assert (await balance_at(ledger, account.user_id, boundary)).balance.balance == 100


async def test_times_that_no_statement_can_be_made_of_are_refused(ledger: Ledger) -> None:
    user_id, demo = await new_user(ledger), await new_user(ledger, demo_mode=True)
    future = datetime.now(UTC) + timedelta(minutes=1)
    for refused in (
        balance_at(ledger, user_id, future),
        make_statement(ledger, user_id, end=future),
        make_statement(ledger, user_id, start=BIRTH, end=BIRTH),
        make_statement(ledger, user_id, start=future),
    ):
        with pytest.raises(Unprocessable):
            await refused
    for absent in (balance_at(ledger, demo), make_statement(ledger, demo), balance_at(ledger, user_id, BIRTH)):
        with pytest.raises(NotFound, match=r"not there|no balance"):
            await absent


async def test_a_statement_is_of_this_period_until_now_unless_said_otherwise(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    made = await make_statement(ledger, user_id)
    assert (made.opening.balance, made.closing.balance) == (Decimal(0), Decimal(100))
    assert [line.kind for line in made.lines] == ["allowance"]
    assert made.start == made.user.period_start
    assert made.end <= datetime.now(UTC)


async def test_what_was_told_while_charges_ran_is_told_again_later(ledger: Ledger) -> None:
    """Taken out: the lock under which the instant is read (the database's now in its place)."""
    user_id = await new_user(ledger)
    is_over = False

    async def charge_on(writer: int) -> None:
        number = 0
        while not is_over:
            await charge(ledger, [use(user_id, f"{writer} {number}", "0.001")])
            number += 1

    async with asyncio.TaskGroup() as group:
        for writer in range(3):
            group.create_task(charge_on(writer))
        told = [(await make_statement(ledger, user_id), await balance_at(ledger, user_id)) for _ in range(60)]
        is_over = True
    for made, found in told:
        assert (await balance_at(ledger, user_id, found.at)).balance == found.balance
        again = await make_statement(ledger, user_id, start=made.start, end=made.end)
        assert (again.opening, again.lines, again.closing) == (made.opening, made.lines, made.closing)
    assert len({found.balance.version for _, found in told}) > 1


async def test_an_account_that_was_never_given_anything_has_a_balance_of_nothing(ledger: Ledger) -> None:
    user_id = await new_user(ledger, 0)
    found = await balance_at(ledger, user_id)
    assert (found.balance.balance, found.balance.version) == (Decimal(0), 0)
    assert found.balance.recorded_at is None
