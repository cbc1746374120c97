"""What the statements of a single account's reports return: one frozen dataclass a result, field by column name.

Amounts are credits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime
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
class ModelUsage:
    """What one model came to in a window; `model` is null where none was named. Costs are in USD."""

    model: str | None
    event_count: int
    total_credits: Decimal
    total_api_cost_dollars: Decimal
    avg_per_event: Decimal


@dataclass(frozen=True, slots=True)
class HourUsage:
    """One hour of a window. Costs are in USD."""

    hour: datetime
    events: int
    total_credits: Decimal
    total_api_cost_dollars: Decimal


@dataclass(frozen=True, slots=True)
class RebuiltUsers:
    """How many rows of some users' roll-ups were made again; `last_user_id` is null where no users are left."""

    last_user_id: int | None
    accounts: int
    user_days: int
    actions: int


@dataclass(frozen=True, slots=True)
class RebuiltDay:
    """How many rows of a day's roll-ups over all users were made again."""

    hours: int
    days: int
    users: int


@dataclass(frozen=True, slots=True)
class RollupDay:
    """A day that has roll-ups, or should."""

    day: date


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


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One event in a list over all users, with what was used and all that priced it; `api_cost` is in USD."""

    id: int
    timestamp: datetime
    recorded_at: datetime
    user_id: int
    email: str
    action_type: str
    model: str | None
    provider: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    quantity: Decimal | None
    api_cost: Decimal | None
    credits_per_dollar: Decimal
    multiplier: Decimal
    credits: Decimal
    cost_source: str
    balance_after: Decimal
    description: str | None
    session_id: str | None
    idempotency_key: str
