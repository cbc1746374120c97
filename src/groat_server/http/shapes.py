"""The answers: how rows and receipts look on the wire. Field names are the contract's and never change their meaning.

Each is a dataclass, so that one definition makes both the JSON and its description in the OpenAPI document.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import WithJsonSchema

Day = date
Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]
"""An exact decimal, written as a JSON number."""


@dataclass(frozen=True, slots=True)
class PriceShape:
    """What priced a charge. `rates`: USD per million tokens, or credits for an action; `version`: the pinned row."""

    cost_source: str
    credits_per_dollar: Number
    multiplier: Number
    version: int | None
    source: str | None
    provider: str | None
    model: str | None
    matched: str | None
    valid_from: datetime | None
    rates: Annotated[Any, WithJsonSchema({"type": ["object", "null"]})]


@dataclass(frozen=True, slots=True)
class ReceiptShape:
    """A charge that was booked now or, `replayed`, earlier. `api_cost` is in USD; `voided`: it was taken back since."""

    id: int
    outcome: str
    tracked: bool
    credits_charged: Number
    api_cost: Number | None
    balance: Number
    available: Number
    overdrawn: bool
    version: int
    replayed: bool
    voided: bool
    created_at: datetime
    price: PriceShape


@dataclass(frozen=True, slots=True)
class UntrackedShape:
    """What a charge of a user in demo mode would have cost; nothing of it is stored."""

    outcome: str
    tracked: bool
    reason: str
    replayed: bool
    credits_charged: Number | None
    api_cost: Number | None
    price: PriceShape | None


@dataclass(frozen=True, slots=True)
class BatchShape:
    """One result an event, in order; each has `index` and `outcome`, and what its outcome says."""

    results: Annotated[list[dict[str, Any]], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
    recorded: int
    replayed: int
    untracked: int
    refused: int


@dataclass(frozen=True, slots=True)
class EstimateShape:
    """What a usage would cost. `api_cost` is in USD."""

    credits_charged: Number
    api_cost: Number | None
    price: PriceShape


@dataclass(frozen=True, slots=True)
class ActionShape:
    """One action type's part of a window. `net_credits` = `total_credits` - `refunded_credits`."""

    action_type: str
    event_count: int
    total_credits: Number
    refunded_credits: Number
    net_credits: Number
    total_api_cost_dollars: Number


@dataclass(frozen=True, slots=True)
class OverviewShape:
    """Totals of a window, net of voids. `refunded_credits` is what was given back of the window's own events."""

    period_days: int
    total_events: int
    total_credits: Number
    refunded_credits: Number
    net_credits: Number
    total_api_cost_dollars: Number
    active_users: int
    by_action_type: list[ActionShape]


@dataclass(frozen=True, slots=True)
class BalanceListItem:
    """One user's balance in the list."""

    email: str
    full_name: str | None
    current_balance: Number
    monthly_allowance: Number
    current_month_consumed: Number
    total_consumed: Number
    next_reset_at: datetime


@dataclass(frozen=True, slots=True)
class BalanceListShape:
    """A page of balances; `cursor=next_cursor` asks for the next, null is the end."""

    users: list[BalanceListItem]
    count: int
    total: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class PersonShape:
    """Who a user is."""

    id: int
    email: str
    full_name: str | None
    external_id: str | None
    demo_mode: bool
    is_admin: bool
    time_zone: str
    period_anchor: datetime
    created_at: datetime
    anonymised_at: datetime | None


@dataclass(frozen=True, slots=True)
class BalanceShape:
    """A user's balance as of now. `available` = `current_balance` + `overdraft_limit` - `held`."""

    current_balance: Number
    current_month_consumed: Number
    monthly_allowance: Number
    total_consumed: Number
    overdraft_limit: Number
    rollover_cap: Number
    held: Number
    available: Number
    next_reset_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class EventShape:
    """One usage event, as its user may see it: what the API cost us is not in it."""

    id: int
    timestamp: datetime
    recorded_at: datetime
    action_type: str
    credits: Number
    description: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    quantity: Number | None
    model: str | None
    provider: str | None
    balance_after: Number
    session_id: str | None


@dataclass(frozen=True, slots=True)
class OpenHoldShape:
    """A hold that counts at present."""

    id: str
    amount: Number
    created_at: datetime
    expires_at: datetime
    action_type: str | None
    model: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class UserReportShape:
    """One user: who, how much is left, the newest events, usage by action type, open holds. No balance in demo mode."""

    user: PersonShape
    balance: BalanceShape | None
    recent_events: list[EventShape]
    by_action_type: list[ActionShape]
    open_holds: list[OpenHoldShape]


@dataclass(frozen=True, slots=True)
class ConsumerShape:
    """One of the top consumers."""

    rank: int
    email: str
    full_name: str | None
    events: int
    total_credits: Number
    total_api_cost_dollars: Number
    share_percent: Number


@dataclass(frozen=True, slots=True)
class TopConsumersShape:
    """The users who consumed most."""

    period_days: int
    top_consumers: list[ConsumerShape]
    count: int


@dataclass(frozen=True, slots=True)
class DayShape:
    """One UTC day."""

    date: Day
    events: int
    total_credits: Number
    unique_users: int


@dataclass(frozen=True, slots=True)
class DailyTrendShape:
    """Every UTC day that the window touches, oldest first."""

    period_days: int
    daily_trend: list[DayShape]


@dataclass(frozen=True, slots=True)
class UserShape:
    """A user with the balance; null in demo mode."""

    user: PersonShape
    balance: BalanceShape | None


@dataclass(frozen=True, slots=True)
class UserListShape:
    """A page of users; `cursor=next_cursor` asks for the next, null is the end."""

    users: list[UserShape]
    count: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class MyCreditsShape:
    """The caller's own balance; with `tracked` false (demo mode) there is none."""

    email: str
    tracked: bool
    current_balance: Number | None
    current_month_consumed: Number | None
    monthly_allowance: Number | None
    total_consumed: Number | None
    overdraft_limit: Number | None
    rollover_cap: Number | None
    held: Number | None
    available: Number | None
    next_reset_at: datetime | None
    version: int | None


@dataclass(frozen=True, slots=True)
class EventListShape:
    """A page of events, newest first; `cursor=next_cursor` asks for older ones, null is the end."""

    events: list[EventShape]
    count: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class TokenShape:
    """An access token, without the token."""

    id: int
    email: str | None
    name: str
    prefix: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    expires_in_days: int | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: int | None


@dataclass(frozen=True, slots=True)
class NewTokenShape:
    """A token just made: the only time that it is shown."""

    token: str
    details: TokenShape


@dataclass(frozen=True, slots=True)
class TokenListShape:
    """Tokens, newest first."""

    tokens: list[TokenShape]
    count: int


@dataclass(frozen=True, slots=True)
class AuditShape:
    """One administrative act. `actor`: `token:`, `user:` (a JWT) or `cli:` and who, or `role:` for SQL by hand."""

    id: int
    recorded_at: datetime
    actor: str
    act: str
    user_id: int | None
    email: str | None
    details: Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


@dataclass(frozen=True, slots=True)
class AuditListShape:
    """A page of administrative acts, newest first."""

    acts: list[AuditShape]
    count: int
    next_cursor: str | None
