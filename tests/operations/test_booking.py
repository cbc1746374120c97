"""One verb on one balance: who waits for a lock that somebody else keeps, and who need not."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.core.outcomes import OperationOutcome
from groat_server.errors import Busy
from groat_server.operations.holds import NewHold, Placement, place_hold
from tests.operations.ledgers import new_user

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio


def hold(user_id: int, key: str) -> NewHold:
    return NewHold(user_id=user_id, idempotency_key=key, seconds=60, amount=Decimal(1))


async def test_a_verb_that_waited_in_vain_spares_others_the_wait(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: `note_locked` in operations/booking.py."""
    user_id = await new_user(ledger)
    with psycopg.connect(ledger_address.url) as connection:
        connection.execute("SELECT FROM user_credit_balances WHERE user_id = %s FOR UPDATE", (user_id,))
        with pytest.raises(Busy) as refusal:
            await place_hold(ledger, hold(user_id, "waits"))
        assert ledger.turns.is_locked(user_id)
    assert (refusal.value.problem_code, refusal.value.headers["Retry-After"]) == ("busy", "1")


async def test_a_balance_that_is_known_to_be_locked_is_not_waited_for(ledger: Ledger) -> None:
    """Taken out: the question to `is_locked` in operations/booking.py; the hold was placed."""
    user_id, other = await new_user(ledger), await new_user(ledger)
    ledger.turns.note_locked(user_id)
    with pytest.raises(Busy) as refusal:
        await place_hold(ledger, hold(user_id, "key"))
    assert (refusal.value.problem_code, refusal.value.headers["Retry-After"]) == ("busy", "1")
    placed = await place_hold(ledger, hold(other, "key"))
    assert isinstance(placed, Placement)
    assert placed.outcome is OperationOutcome.HELD
