"""One account through time: the balance at a past instant, and the statement of a period.

Both go by when a move was booked (`recorded_at`), and by the moves themselves: nothing that happens later changes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from groat_server.core.report_rows import BalanceAt, Settled, StatementLine
from groat_server.core.rows import UserRow
from groat_server.errors import NotFound, Unprocessable
from groat_server.sql import Statement as Sql

if TYPE_CHECKING:
    from datetime import datetime

    from groat_server.operations.ledger import Ledger

_SETTLE = Sql("statements/settle", Settled)
_BALANCE_AT = Sql("statements/balance_at", BalanceAt)
_LINES = Sql("statements/lines", StatementLine)
_SHOW_USER = Sql("users/show", UserRow)

_SMALLEST = timedelta(microseconds=1)
"""What the database tells times apart by."""


@dataclass(frozen=True, slots=True)
class PastBalance:
    """A user's balance at an instant."""

    user: UserRow
    at: datetime
    balance: BalanceAt


@dataclass(frozen=True, slots=True)
class Statement:
    """A user's moves from `start` until before `end`; `closing` is `opening` and all lines."""

    user: UserRow
    start: datetime
    end: datetime
    opening: BalanceAt
    lines: list[StatementLine]
    closing: BalanceAt


async def balance_at(ledger: Ledger, user_id: int, at: datetime | None = None) -> PastBalance:
    """Tell the balance at an instant, that instant's bookings included (absent: now).

    Raises NotFound (no_balance) for a time before the user was there and for demo mode, and Unprocessable for a future.
    """
    present = await _settle(ledger, user_id)
    at = _past(at, present)
    async with ledger.database.snapshot() as connection:
        user = await _SHOW_USER.one(connection, user_id=user_id)
        found = await _BALANCE_AT.one(connection, user_id=user_id, at=at)
    if found.version == 0 and at < user.created_at:
        raise NotFound("This user was not there at that time.", code="no_balance")
    return PastBalance(user, at, found)


async def make_statement(
    ledger: Ledger, user_id: int, *, start: datetime | None = None, end: datetime | None = None
) -> Statement:
    """Make the statement of the moves booked from `start` (absent: the start of this period) until before `end` (now).

    Raises NotFound (no_balance) in demo mode, and Unprocessable for a period that is empty or not over.
    """
    present = await _settle(ledger, user_id)
    end = _past(end, present)
    async with ledger.database.snapshot() as connection:
        user = await _SHOW_USER.one(connection, user_id=user_id)
        start = start or user.period_start
        if start is None or start >= end:
            raise Unprocessable("A statement's period ends after it begins.", code="bad_period")
        opening = await _BALANCE_AT.one(connection, user_id=user_id, at=start - _SMALLEST)
        lines = await _LINES.all(connection, user_id=user_id, period_start=start, period_end=end)
        closing = await _BALANCE_AT.one(connection, user_id=user_id, at=end - _SMALLEST)
    return Statement(user, start, end, opening, lines, closing)


async def _settle(ledger: Ledger, user_id: int) -> datetime:
    """Return the instant up to which the user's account is complete."""
    async with ledger.database.write() as connection:
        present = (await _SETTLE.one(connection, user_id=user_id)).instant
    if present is None:
        raise NotFound("This user has no balance: nothing is tracked in demo mode.", code="no_balance")
    return present


def _past(at: datetime | None, present: datetime) -> datetime:
    if at is not None and at > present:
        raise Unprocessable("That time is still to come.", code="future")
    return at or present
