"""What a process learns of its database: whether it may begin, what became of a charge whose connection is gone."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.embedded.waiting import wait_for
from groat_server.errors import Busy, CannotStart
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.ledger import open_ledger
from groat_server.operations.usage import charge
from tests.operations.ledgers import ask, connect, new_user, use

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'groat' AND wait_event_type = 'Lock'
"""


async def test_a_server_that_could_lose_what_it_acknowledged_is_refused(ledger_address: Address) -> None:
    """The tests' own server is one."""
    with pytest.raises(CannotStart, match=r"fsync .*off, so a power cut could lose acknowledged"):
        async with open_ledger(ledger_address):
            pass
    async with open_ledger(ledger_address, provider_durability=True) as ledger:
        assert ledger.server_version


async def test_a_charge_whose_connection_is_lost_has_an_unknown_outcome(
    ledger: Ledger, ledger_address: Address
) -> None:
    user_id = await new_user(ledger)
    with connect(ledger_address) as other, other.transaction():
        other.execute("LOCK TABLE credit_usage_events IN SHARE MODE")
        task = asyncio.create_task(charge(ledger, [use(user_id, "key")]))
        assert await asyncio.to_thread(wait_for, lambda: ask(ledger_address, WAITING) != [], seconds=5)
        ask(ledger_address, f"SELECT pg_terminate_backend(pid, 5000) FROM ({WAITING}) AS waiting")  # noqa: S608
        with pytest.raises(Busy, match="unknown") as refusal:
            await task
    assert refusal.value.problem_code == "outcome_unknown"
    (again,) = await charge(ledger, [use(user_id, "key")])
    assert again.outcome.value == "recorded"


async def test_a_grant_whose_connection_is_lost_has_an_unknown_outcome(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: the last case of `_meaning`, for `busy`."""
    grant = Grant(user_id=await new_user(ledger), key="key", kind="purchase", amount=Decimal(5), actor="test")
    with connect(ledger_address) as other, other.transaction():
        other.execute("LOCK TABLE credit_lots IN SHARE MODE")
        task = asyncio.create_task(grant_credits(ledger, grant))
        assert await asyncio.to_thread(wait_for, lambda: ask(ledger_address, WAITING) != [], seconds=5)
        ask(ledger_address, f"SELECT pg_terminate_backend(pid, 5000) FROM ({WAITING}) AS waiting")  # noqa: S608
        with pytest.raises(Busy, match="unknown") as refusal:
            await task
    assert refusal.value.problem_code == "outcome_unknown"
    assert not (await grant_credits(ledger, grant)).replayed


async def test_what_is_read_is_read_over_a_connection_that_cannot_write(ledger: Ledger) -> None:
    async with ledger.database.read() as connection:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            await connection.execute("DELETE FROM access_tokens")
