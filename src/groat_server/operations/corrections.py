"""Charges undone: a refund gives credits back, a void takes the event out of the books; each once under its key."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from groat_server.core.rows import OperationRow
from groat_server.operations.booking import booking
from groat_server.sql import Statement

if TYPE_CHECKING:
    from decimal import Decimal

    from groat_server.operations.ledger import Ledger

_REFUND = Statement("corrections/refund", OperationRow)
_VOID = Statement("corrections/void", OperationRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Void:
    """An event that should not have been."""

    user_id: int
    key: str
    event_id: int
    reason: str
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund(Void):
    """So many credits of an event to give back; `amount` None: all that is left of it."""

    amount: Decimal | None = None


async def refund_event(ledger: Ledger, refund: Refund) -> OperationRow:
    """Give back what an event has cost, or a part of it."""
    async with booking(ledger, refund.user_id) as connection:
        return await _REFUND.one(connection, **asdict(refund))


async def void_event(ledger: Ledger, void: Void) -> OperationRow:
    """Take an event out of the books."""
    async with booking(ledger, void.user_id) as connection:
        return await _VOID.one(connection, **asdict(void))
