"""What statements return: one frozen dataclass a result, field by column name.

Amounts are credits unless said otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import date, datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """One row of charge_batch. The columns of the event are null where nothing was booked, now or earlier."""

    ordinal: int
    outcome: str
    event_id: int | None
    created_at: datetime | None
    credits_charged: Decimal | None
    api_cost: Decimal | None
    credits_per_dollar: Decimal | None
    multiplier: Decimal | None
    cost_source: str | None
    price_id: int | None
    balance: Decimal | None
    held: Decimal | None
    available: Decimal | None
    version: int | None
    hold_exceeded: bool | None
    late_capture: bool | None
    voided: bool | None
    next_reset_at: datetime | None
    instant: datetime


@dataclass(frozen=True, slots=True)
class OperationRow:
    """What a grant, an adjustment, a refund or a void was answered, first and on every repeat."""

    outcome: str
    replayed: bool | None
    recorded_at: datetime | None
    version: int | None
    event_id: int | None
    lot_id: int | None
    kind: str | None
    amount: Decimal | None
    priority: int | None
    cost_basis: Decimal | None
    starts_at: datetime | None
    expires_at: datetime | None
    balance: Decimal | None
    held: Decimal | None
    available: Decimal | None
    next_reset_at: datetime | None


@dataclass(frozen=True, slots=True)
class HoldOperationRow:
    """What a hold, its renewal or its release was answered. `amount` is the hold's, or what was asked for."""

    outcome: str
    replayed: bool | None
    hold_id: int | None
    state: str | None
    amount: Decimal | None
    created_at: datetime | None
    expires_at: datetime | None
    balance: Decimal | None
    held: Decimal | None
    available: Decimal | None
    next_reset_at: datetime | None


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One hold as of now: an open one whose time has come is `expired`, swept or not."""

    id: int
    user_id: int
    state: str
    amount: Decimal
    created_at: datetime
    expires_at: datetime
    released_at: datetime | None
    captured_at: datetime | None
    event_id: int | None
    action_type: str | None
    model: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class LotRow:
    """What is left of one grant as of now. `version` null: it is still to start."""

    id: int
    kind: str
    amount: Decimal
    remaining: Decimal
    priority: int
    cost_basis: Decimal | None
    starts_at: datetime
    expires_at: datetime | None
    version: int | None
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One ledger entry: everything but a charge that moves a balance."""

    id: int
    kind: str
    amount: Decimal
    recorded_at: datetime
    period_start: datetime | None
    balance_after: Decimal
    version: int
    event_id: int | None
    lot_id: int | None
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class ExplainedEventRow:
    """One event with everything that it was charged by, and the hold that it captured; `voided_at` null: it stands."""

    id: int
    created_at: datetime
    recorded_at: datetime
    version: int
    action_type: str
    model: str | None
    provider: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    quantity: Decimal | None
    credits_charged: Decimal
    api_cost: Decimal | None
    credits_per_dollar: Decimal
    multiplier: Decimal
    cost_source: str
    price_id: int | None
    balance_after: Decimal
    available_after: Decimal
    description: str | None
    session_id: str | None
    metadata: dict[str, Any] | None
    idempotency_key: str
    voided_at: datetime | None
    void_reason: str | None
    voided_by: str | None
    hold_id: int | None
    hold_amount: Decimal | None
    late_capture: bool | None


@dataclass(frozen=True, slots=True)
class LotDraw:
    """A stretch of an event's credits and the lot that it drew on; without a lot it is debt.

    `first_credit` is where the stretch begins among all credits that the user ever consumed.
    """

    lot_id: int | None
    kind: str | None
    credits: Decimal
    first_credit: Decimal


@dataclass(frozen=True, slots=True)
class ActionName:
    """The name of an action type."""

    name: str


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What all services on a ledger share."""

    default_allowance: Decimal
    create_users: bool
    strict_action_types: bool
    alert_below: list[Decimal]


@dataclass(frozen=True, slots=True)
class UserRow:
    """One user, with the balance where the user has one (users in demo mode have none)."""

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
    current_balance: Decimal | None
    monthly_allowance: Decimal | None
    current_month_consumed: Decimal | None
    total_consumed: Decimal | None
    overdraft_limit: Decimal | None
    rollover_cap: Decimal | None
    held: Decimal | None
    available: Decimal | None
    period_start: datetime | None
    next_reset_at: datetime | None
    version: int | None


@dataclass(frozen=True, slots=True)
class BearerRow:
    """Whether what a caller was judged by still holds."""

    holds: bool


@dataclass(frozen=True, slots=True)
class UserId:
    """The id of a user found by what a request called it; null where nobody is called that."""

    user_id: int | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One usage event in a list of one user's."""

    id: int
    timestamp: datetime
    recorded_at: datetime
    action_type: str
    credits: Decimal
    description: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    quantity: Decimal | None
    model: str | None
    provider: str | None
    balance_after: Decimal
    session_id: str | None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An access token, without the token."""

    id: int
    user_id: int | None
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
class NamedUser:
    """A user whom a host application's token names. `is_admin` is read from the users table at this very request."""

    user_id: int
    is_admin: bool


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """Whom a presented token stands for. `is_admin` is read from the users table at this very request."""

    token_id: int
    user_id: int | None
    is_admin: bool
    scopes: list[str]
    is_stale: bool


@dataclass(frozen=True, slots=True)
class TermsOutcome:
    """What became of a change of a user's terms."""

    outcome: str
    replayed: bool | None


@dataclass(frozen=True, slots=True)
class AnonymiseOutcome:
    """What became of a user who was to be anonymised."""

    outcome: str


@dataclass(frozen=True, slots=True)
class LastAdmin:
    """Whether a user is the only administrator."""

    is_last_admin: bool


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One administrative act. `email` is the present one of the user it concerned."""

    id: int
    recorded_at: datetime
    actor: str
    act: str
    user_id: int | None
    email: str | None
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """Totals of a window: of one action type or, with `action_type` null, of all, which alone has `active_users`.

    Costs are in USD.
    """

    action_type: str | None
    event_count: int
    total_credits: Decimal
    refunded_credits: Decimal
    net_credits: Decimal
    total_api_cost_dollars: Decimal
    active_users: int | None


@dataclass(frozen=True, slots=True)
class UserActionUsage:
    """What one user used of one action type in a window."""

    action_type: str
    event_count: int
    total_credits: Decimal
    refunded_credits: Decimal
    net_credits: Decimal
    total_api_cost_dollars: Decimal


@dataclass(frozen=True, slots=True)
class ActionUsage:
    """What one action type came to in a window."""

    action_type: str
    event_count: int
    total_credits: Decimal
    total_api_cost_dollars: Decimal
    avg_per_event: Decimal


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """One user's balance in a list. `sort_number` and `sort_text` place it there; `total` counts the whole list."""

    user_id: int
    email: str
    full_name: str | None
    current_balance: Decimal
    monthly_allowance: Decimal
    current_month_consumed: Decimal
    total_consumed: Decimal
    next_reset_at: datetime
    available: Decimal
    last_event_at: datetime | None
    is_admin: bool
    sort_number: Decimal
    sort_text: str
    total: int


@dataclass(frozen=True, slots=True)
class Consumer:
    """One of the users who consumed most in a window."""

    rank: int
    user_id: int
    email: str
    full_name: str | None
    events: int
    total_credits: Decimal
    total_api_cost_dollars: Decimal
    share_percent: Decimal


@dataclass(frozen=True, slots=True)
class DayUsage:
    """One UTC day of a window."""

    date: date
    events: int
    total_credits: Decimal
    unique_users: int


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One event in a list over all users."""

    id: int
    email: str
    action_type: str
    credits: Decimal
    description: str | None
    model: str | None
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class CostValidation:
    """Charges against costs of one action type. `difference` is 0 where no margin is taken."""

    action_type: str
    total_credits_charged: Decimal
    expected_credits_from_api: Decimal
    difference: Decimal


@dataclass(frozen=True, slots=True)
class QuickStat:
    """One figure of the quick stats."""

    metric: str
    value: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found: whom it concerns and what is wrong."""

    subject: str
    finding: str


@dataclass(frozen=True, slots=True)
class Count:
    """A count."""

    count: int
