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
class UsagePoint:
    """What one series came to in one bucket; `series` is null of what has no name and of all others. Costs in USD."""

    bucket: datetime
    series: str | None
    is_other: bool
    events: int
    credits: Decimal
    refunded_credits: Decimal
    net_credits: Decimal
    api_cost_dollars: Decimal


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What a window, or the one before it, came to. Costs are in USD."""

    period: str
    events: int
    credits: Decimal
    refunded_credits: Decimal
    net_credits: Decimal
    api_cost_dollars: Decimal
    active_users: int


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """One event in a list by time; `api_cost` is in USD."""

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
    quantity: Decimal | None
    api_cost: Decimal | None
    credits: Decimal
    cost_source: str
    balance_after: Decimal
    description: str | None


@dataclass(frozen=True, slots=True)
class ModelMargin:
    """What was charged for one model, what that is worth, and what it cost; no percentage is of a value of nothing."""

    model: str | None
    events: int
    credits: Decimal
    value_dollars: Decimal
    api_cost_dollars: Decimal
    margin_dollars: Decimal
    margin_percent: Decimal | None


@dataclass(frozen=True, slots=True)
class UnpricedModel:
    """What was used of one model without a price of its own."""

    model: str | None
    cost_source: str
    events: int
    input_tokens: int
    output_tokens: int
    credits: Decimal
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One user who used much more in the last 24 hours than on the days before; `ratio` is null if that was nothing."""

    user_id: int
    email: str
    full_name: str | None
    credits_today: Decimal
    daily_mean: Decimal
    ratio: Decimal | None


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
