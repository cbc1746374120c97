"""Acts tried out and taken back; acts with their reason; and how many statements a user's page takes.

Taken out to see tests here fail: `force_rollback` in `rehearsing` (all that rehearse), the transaction around the act
and its reason (a reason was there without its act).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.errors import Busy, Conflict
from groat_server.operations.account_page import Part, account_page
from groat_server.operations.audit import list_acts
from groat_server.operations.corrections import Refund, Void, refund_event, void_event
from groat_server.operations.explain import explain_event
from groat_server.operations.grants import Adjustment, Grant, adjust_credits, grant_credits
from groat_server.operations.rehearsal import acting_for_a_reason, rehearsing
from groat_server.operations.usage import charge
from groat_server.operations.users import Terms, anonymise_user, show_user, update_user
from groat_server.sql import Statement
from tests.operations.ledgers import connect, new_user, use

if TYPE_CHECKING:
    from groat_server.core.rows import UserRow
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

PLACES: dict[Part, dict[str, object]] = {
    "events": {"before": None, "before_id": None},
    "entries": {"before_version": None},
    "lots": {"before_id": None},
    "tokens": {},
    "audit": {"before": None, "act": None, "actor": None},
}


async def _grant(ledger: Ledger, user_id: int, _event_id: int) -> None:
    await grant_credits(
        ledger, Grant(user_id=user_id, key="act", kind="purchase", amount=Decimal("12.5"), actor="tests")
    )


async def _adjust(ledger: Ledger, user_id: int, _event_id: int) -> None:
    await adjust_credits(
        ledger, Adjustment(user_id=user_id, key="act", amount=Decimal(-7), reason="why", actor="tests")
    )


async def _refund(ledger: Ledger, user_id: int, event_id: int) -> None:
    await refund_event(ledger, Refund(user_id=user_id, key="act", event_id=event_id, reason="why", actor="tests"))


async def _void(ledger: Ledger, user_id: int, event_id: int) -> None:
    await void_event(ledger, Void(user_id=user_id, key="act", event_id=event_id, reason="why", actor="tests"))


async def _raise(ledger: Ledger, user_id: int, _event_id: int) -> None:
    await update_user(ledger, user_id, terms=Terms(allowance=Decimal(150), grant_now=True, key="act"), actor="tests")


ACTS: dict[str, Any] = {"grant": _grant, "adjust": _adjust, "refund": _refund, "void": _void, "raise": _raise}


async def _user_with_event(ledger: Ledger) -> tuple[int, int]:
    user_id = await new_user(ledger)
    (receipt,) = await charge(ledger, [use(user_id, "k", 30)])
    assert receipt.booking is not None
    return user_id, receipt.booking.event_id


@pytest.mark.parametrize("act", ACTS)
async def test_what_is_rehearsed_is_what_comes_of_it_and_is_taken_back(ledger: Ledger, act: str) -> None:
    user_id, event_id = await _user_with_event(ledger)
    before, acts = await show_user(ledger, user_id), await list_acts(ledger)
    async with rehearsing(ledger) as rehearsed:
        assert await show_user(rehearsed, user_id) == before
        await ACTS[act](rehearsed, user_id, event_id)
        foreseen = await show_user(rehearsed, user_id)
    assert await show_user(ledger, user_id) == before
    assert await list_acts(ledger) == acts
    await ACTS[act](ledger, user_id, event_id)
    assert before != await show_user(ledger, user_id) == foreseen


async def test_a_refusal_is_foreseen(ledger: Ledger) -> None:
    user_id, _ = await _user_with_event(ledger)
    with pytest.raises(Conflict, match="demo"):
        async with rehearsing(ledger) as rehearsed:
            await update_user(rehearsed, user_id, demo_mode=True)
    assert not (await show_user(ledger, user_id)).demo_mode


async def test_a_rehearsal_waits_for_nobody_long(ledger: Ledger, ledger_address: Address) -> None:
    user_id, event_id = await _user_with_event(ledger)
    with connect(ledger_address) as other, other.transaction():
        other.execute("SELECT FROM user_credit_balances WHERE user_id = %s FOR UPDATE", (user_id,))
        with pytest.raises(Busy):
            async with rehearsing(ledger) as rehearsed:
                await _grant(rehearsed, user_id, event_id)


async def test_many_rehearse_and_act_at_once_and_nobody_waits_for_ever(ledger: Ledger) -> None:
    """Taken out: the rehearsal's own turns. Then those who had all connections waited for one who waited for one."""
    user_id, event_id = await _user_with_event(ledger)

    async def rehearse() -> None:
        async with rehearsing(ledger) as rehearsed:
            await _adjust(rehearsed, user_id, event_id)

    await asyncio.gather(*(each for _ in range(20) for each in (_grant(ledger, user_id, event_id), rehearse())))
    assert (await show_user(ledger, user_id)).current_balance == Decimal("82.5")


async def test_a_reason_is_kept_with_its_act(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    async with acting_for_a_reason(ledger, user_id, "asked by mail", actor="user:1") as acting:
        await update_user(acting, user_id, is_admin=True, actor="user:1")
    reason, change, *_ = await list_acts(ledger, user_id=user_id)
    assert (reason.act, reason.actor, reason.details) == ("reason", "user:1", {"reason": "asked by mail"})
    assert (change.act, change.actor) == ("user_changed", "user:1")


async def _change_twice(ledger: Ledger, user_id: int) -> None:
    async with acting_for_a_reason(ledger, user_id, "why", actor="user:1") as acting:
        await update_user(acting, user_id, is_admin=True, actor="user:1")
        await update_user(acting, user_id, demo_mode=True, actor="user:1")


async def test_there_is_no_reason_without_its_act(ledger: Ledger) -> None:
    user_id, _ = await _user_with_event(ledger)
    before = await list_acts(ledger)
    with pytest.raises(Conflict):
        await _change_twice(ledger, user_id)
    assert await list_acts(ledger) == before
    assert not (await show_user(ledger, user_id)).is_admin


async def test_a_reason_goes_when_the_user_is_anonymised(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    async with acting_for_a_reason(ledger, user_id, "a personal one", actor="user:1") as acting:
        await update_user(acting, user_id, time_zone="Europe/Berlin", actor="user:1")
    await anonymise_user(ledger, user_id, actor="user:1")
    assert "personal" not in str(await list_acts(ledger))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the statements that are run, as they are run."""
    names: list[str] = []
    all_rows = Statement.all

    async def counted(statement: Statement[Any], *arguments: Any, **parameters: Any) -> list[Any]:
        names.append(statement.name)
        return await all_rows(statement, *arguments, **parameters)

    monkeypatch.setattr(Statement, "all", counted)
    return names


async def _page(ledger: Ledger, user_id: int, part: Part) -> UserRow:
    as_of = datetime.now(UTC)
    page = await account_page(ledger, user_id, as_of=as_of, days=30, part=part, place=PLACES[part], limit=100)
    return page.user


@pytest.mark.parametrize("part", PLACES)
async def test_a_users_page_takes_as_many_statements_for_many_rows_as_for_few(
    ledger: Ledger, run: list[str], part: Part
) -> None:
    user_id, _ = await _user_with_event(ledger)
    run.clear()
    await _page(ledger, user_id, part)
    few = list(run)
    await charge(ledger, [use(user_id, f"k{number}", "0.5") for number in range(50)])
    for number in range(50):
        await adjust_credits(
            ledger, Adjustment(user_id=user_id, key=f"a{number}", amount=Decimal(1), reason="why", actor="tests")
        )
    run.clear()
    await _page(ledger, user_id, part)
    assert run == few
    assert len(few) == 6


async def test_an_event_of_many_refunds_takes_as_many_statements_as_one_of_none(ledger: Ledger, run: list[str]) -> None:
    user_id, event_id = await _user_with_event(ledger)
    await explain_event(ledger, user_id, event_id)
    run.clear()
    await explain_event(ledger, user_id, event_id)
    few = list(run)
    for number in range(50):
        said: dict[str, Any] = {"user_id": user_id, "reason": "why", "actor": "tests", "event_id": event_id}
        await refund_event(ledger, Refund(**said, key=f"r{number}", amount=Decimal("0.5")))
    run.clear()
    await explain_event(ledger, user_id, event_id)
    assert run == few
    assert len(few) == 5
