"""What the statements of the ledger's tables return: one frozen dataclass a table, field by column name.

Amounts are credits unless the name says dollars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry in the list of all users' entries."""

    id: int
    recorded_at: datetime
    user_id: int
    email: str
    kind: str
    amount: Decimal
    balance_after: Decimal
    version: int
    period_start: datetime | None
    event_id: int | None
    lot_id: int | None
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class Lot:
    """One lot in the list of all users' lots; `remaining` is as of now."""

    id: int
    user_id: int
    email: str
    kind: str
    amount: Decimal
    remaining: Decimal
    priority: int
    cost_basis_dollars: Decimal | None
    starts_at: datetime
    expires_at: datetime | None
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class ListedHold:
    """One hold in the list of all users' holds. `id` is the public one, `state` the present one."""

    id: str
    created_at: datetime
    user_id: int
    email: str
    state: str
    amount: Decimal
    expires_at: datetime
    captured_at: datetime | None
    released_at: datetime | None
    event_id: int | None
    action_type: str | None
    model: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One administrative act; `details` is JSON."""

    id: int
    recorded_at: datetime
    actor: str
    act: str
    user_id: int | None
    email: str | None
    details: str


@dataclass(frozen=True, slots=True)
class ListedToken:
    """One token, without its secret; `scopes` are separated by spaces, none are a user's."""

    id: int
    user_id: int | None
    email: str | None
    name: str
    prefix: str
    scopes: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: int | None


@dataclass(frozen=True, slots=True)
class PriceInForce:
    """One price; `rates` is JSON: USD per million tokens of a model, credits of an action. Times of day are UTC."""

    id: int
    kind: str
    name: str
    provider: str | None
    source: str
    valid_from: datetime | None
    valid_to: datetime | None
    daily_from: str | None
    daily_to: str | None
    rates: str
    multiplier: Decimal | None
    note: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class ActionType:
    """One registered action type."""

    name: str
    registered_at: datetime


@dataclass(frozen=True, slots=True)
class Account:
    """One user with the balance; all that is of a balance is null in demo mode."""

    user_id: int
    email: str
    full_name: str | None
    external_id: str | None
    demo_mode: bool
    is_admin: bool
    created_at: datetime
    anonymised_at: datetime | None
    balance: Decimal | None
    held: Decimal | None
    available: Decimal | None
    overdraft_limit: Decimal | None
    monthly_allowance: Decimal | None
    period_consumed: Decimal | None
    total_consumed: Decimal | None
    period_start: datetime | None
    next_reset_at: datetime | None
    last_event_at: datetime | None


@dataclass(frozen=True, slots=True)
class VoidedEvent:
    """One event that was taken out of the books; `metadata` is JSON."""

    id: int
    voided_at: datetime
    user_id: int
    email: str
    created_at: datetime
    recorded_at: datetime
    action_type: str
    model: str | None
    credits: Decimal
    api_cost_dollars: Decimal | None
    cost_source: str
    description: str | None
    session_id: str | None
    metadata: str | None
    idempotency_key: str
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class BalancePoint:
    """One point of a balance through time, and what led to it.

    `kind` is `usage` (of `events` events), `opening`, `void`, or that of a ledger entry.
    """

    at: datetime
    kind: str
    amount: Decimal
    balance: Decimal
    events: int | None
    entry_id: int | None
    event_id: int | None
    reason: str | None
    actor: str | None
