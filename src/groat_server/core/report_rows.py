"""What the statements of a single account's reports return: one frozen dataclass a result, field by column name.

Amounts are credits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class OpenHold:
    """One hold that counts at present. `id` is the public one."""

    id: str
    amount: Decimal
    created_at: datetime
    expires_at: datetime
    action_type: str | None
    model: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class Runway:
    """How long one user's credits last at the present pace; `days_left` is null where nothing is used."""

    user_id: int
    email: str
    full_name: str | None
    available: Decimal
    credits_per_day: Decimal
    days_left: Decimal | None
    next_reset_at: datetime


@dataclass(frozen=True, slots=True)
class Alert:
    """One balance that a charge took down to a threshold."""

    id: int
    user_id: int
    email: str
    full_name: str | None
    threshold: Decimal
    balance_before: Decimal
    balance_after: Decimal
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Settled:
    """The instant up to which an account is complete; null where there is no account."""

    instant: datetime | None


@dataclass(frozen=True, slots=True)
class BalanceAt:
    """A balance as a booking left it; version 0 and no `recorded_at` before the first."""

    balance: Decimal
    total_consumed: Decimal
    version: int
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class StatementLine:
    """What moves of one kind came to: charges and voids are by action type, the amount has its sign."""

    kind: str
    action_type: str | None
    count: int
    amount: Decimal
