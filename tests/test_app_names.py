"""The import paths that scripts of the monitoring guide use: names of what is defined elsewhere, and they work."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

import app.core.database
import app.models.credit_usage
import app.models.user
from groat_server import database, models
from groat_server.core.usage import Usage
from groat_server.operations.ledger import open_ledger
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.services import on_ledger

if TYPE_CHECKING:
    from groat_server.database import Address

EMAIL = "script@example.com"
COSTS = ["0.5", "0.00000005", "1", "0.123456789012"]


def test_the_names_are_those_of_the_server() -> None:
    assert app.core.database.get_async_session is database.get_async_session
    assert app.models.user.User is models.User
    for name in ("ActionType", "CreditUsageEvent", "UserCreditBalance"):
        assert getattr(app.models.credit_usage, name) is getattr(models, name)


@pytest.fixture
def ledger_of_a_script(ledger_address: Address, monkeypatch: pytest.MonkeyPatch) -> Address:
    """Charge a user a few times, and let scripts find the ledger by its environment."""
    for name, value in on_ledger(ledger_address).items():
        monkeypatch.setenv(name, value)
    asyncio.run(_charge(ledger_address))
    return ledger_address


async def _charge(address: Address) -> None:
    async with open_ledger(address, provider_durability=True) as ledger:
        user = await create_user(ledger, EMAIL, monthly_allowance=Decimal(1000))
        usages = [
            Usage(
                user_id=user.id,
                idempotency_key=f"k-{number}",
                action_type=f"kind:{number}.x",
                api_cost=Decimal(cost),
                occurred_at=datetime.now(UTC),
            )
            for number, cost in enumerate(COSTS)
        ]
        await charge(ledger, usages)


async def print_account(email: str) -> None:
    """Print a user's account, in the way in which a team's own script would."""
    async with app.core.database.get_async_session() as session:
        user = (await session.execute(select(models.User).filter(models.User.email == email))).scalar_one()
        mine = models.UserCreditBalance.user_id == user.id
        balance = (await session.execute(select(models.UserCreditBalance).filter(mine))).scalar_one()
        print(f"{user.email}: {balance.current_balance} left, {balance.current_month_consumed} this month")  # noqa: T201
        used = select(models.CreditUsageEvent).filter(models.CreditUsageEvent.user_id == user.id)
        events = (await session.execute(used.order_by(models.CreditUsageEvent.id))).scalars().all()
        for event in events:
            print(f"- {event.action_type.value} {event.credits_charged} {event.api_cost}")  # noqa: T201


def test_a_script_works_twice_in_one_process_and_prints_plain_amounts(
    ledger_of_a_script: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for _ in range(2):
        asyncio.run(print_account(EMAIL))
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1], ledger_of_a_script
    assert printed[0].splitlines() == [
        "script@example.com: 983.76543160988 left, 16.23456839012 this month",
        "- kind:0.x 5 0.5",
        "- kind:1.x 0.0000005 0.00000005",
        "- kind:2.x 10 1",
        "- kind:3.x 1.23456789012 0.123456789012",
    ]
    assert not re.search(r"\d[eE][+-]?\d|\.\d*0\b", printed[0])


@pytest.mark.anyio
async def test_a_script_may_aggregate_and_compare_action_types_as_text(ledger_of_a_script: Address) -> None:
    async with app.core.database.get_async_session() as session:
        event = models.CreditUsageEvent
        total = (await session.execute(select(func.sum(event.credits_charged)))).scalar_one()
        found = (await session.execute(select(event).filter(event.action_type == "kind:2.x"))).scalar_one()
    assert str(total) == "16.23456839012", ledger_of_a_script
    assert (found.action_type, found.action_type.value, f"{found.credits_charged}") == ("kind:2.x", "kind:2.x", "10")
    assert type(found.action_type.value) is str


def test_a_user_who_is_not_there_is_none(ledger_of_a_script: Address) -> None:
    async def find() -> models.User | None:
        async with app.core.database.get_async_session() as session:
            found = await session.execute(select(models.User).filter(models.User.email == "nobody@example.com"))
            return found.scalar_one_or_none()

    assert asyncio.run(find()) is None, ledger_of_a_script
