"""The few figures of the ledger that tell at a glance whether it lives."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal  # noqa: TC003 - rows are read by their types
from typing import TYPE_CHECKING

from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Vitals:
    """Seconds since the newest event was booked (NaN: there is none), users without balance, overdue resets, holds."""

    last_event_age_seconds: Decimal
    users_without_balance: int
    overdue_resets: int
    open_holds: int
    held_credits: Decimal


_VITALS = Statement("checks/vitals", Vitals)


async def read_vitals(ledger: Ledger) -> Vitals:
    """Read them, in one statement that stays cheap however large the ledger is."""
    async with ledger.database.read() as connection:
        return await _VITALS.one(connection)
