"""The answers about holds, grants, corrections and explanations, as `shapes` has those about charges and reports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import WithJsonSchema

from groat_server.http.shapes import Number, PriceShape, ReceiptShape


@dataclass(frozen=True, slots=True)
class HoldShape:
    """A hold just placed, renewed or released, and what it leaves. `held` counts all open holds of the user."""

    id: str
    outcome: str
    tracked: bool
    state: str
    amount: Number
    created_at: datetime
    expires_at: datetime
    balance: Number
    held: Number
    available: Number
    next_reset_at: datetime
    replayed: bool


@dataclass(frozen=True, slots=True)
class UntrackedHoldShape:
    """What a hold of a user in demo mode would have been; nothing of it is stored."""

    id: None
    outcome: str
    tracked: bool
    reason: str
    replayed: bool
    amount: Number | None
    price: PriceShape | None


@dataclass(frozen=True, slots=True)
class HoldDetailsShape:
    """One hold as of now. `state`: open, captured, released or expired; `event_id`: the charge that captured it."""

    id: str
    state: str
    amount: Number
    created_at: datetime
    expires_at: datetime
    released_at: datetime | None
    captured_at: datetime | None
    event_id: int | None
    action_type: str | None
    model: str | None
    description: str | None


@dataclass(frozen=True, slots=True)
class HoldListShape:
    """A page of holds, newest first; `cursor=next_cursor` asks for older ones, null is the end."""

    holds: list[HoldDetailsShape]
    count: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class CapturedHoldShape:
    """A captured hold. `exceeded_hold`: the use cost more. `late_capture`: the hold had ended before."""

    id: str
    amount: Number
    exceeded_hold: bool
    late_capture: bool


@dataclass(frozen=True, slots=True)
class CaptureShape(ReceiptShape):
    """The charge of a capture, and its hold."""

    hold: CapturedHoldShape


@dataclass(frozen=True, slots=True)
class GrantShape:
    """Credits that were granted, or are to come (`scheduled`). `cost_basis`: USD a credit."""

    outcome: str
    replayed: bool
    lot_id: int
    kind: str
    amount: Number
    priority: int
    cost_basis: Number | None
    starts_at: datetime
    expires_at: datetime | None
    recorded_at: datetime
    version: int
    balance: Number
    held: Number
    available: Number
    next_reset_at: datetime


@dataclass(frozen=True, slots=True)
class AdjustmentShape:
    """A correction that was made; upwards it is a lot of its own."""

    outcome: str
    replayed: bool
    lot_id: int | None
    amount: Number
    expires_at: datetime | None
    recorded_at: datetime
    version: int
    balance: Number
    held: Number
    available: Number
    next_reset_at: datetime


@dataclass(frozen=True, slots=True)
class CorrectionShape:
    """A refund or a void of an event: `amount` are the credits that went back."""

    outcome: str
    replayed: bool
    event_id: int
    amount: Number
    recorded_at: datetime
    version: int
    balance: Number
    held: Number
    available: Number
    next_reset_at: datetime


@dataclass(frozen=True, slots=True)
class LotShape:
    """What is left of one grant as of now. `version` null: it is still to start. `cost_basis`: USD a credit."""

    id: int
    kind: str
    amount: Number
    remaining: Number
    priority: int
    cost_basis: Number | None
    starts_at: datetime
    expires_at: datetime | None
    version: int | None
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class LotListShape:
    """A page of lots, newest first; `cursor=next_cursor` asks for older ones, null is the end."""

    lots: list[LotShape]
    count: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class EntryShape:
    """One ledger entry: everything but a charge that moves a balance."""

    id: int
    kind: str
    amount: Number
    recorded_at: datetime
    period_start: datetime | None
    balance_after: Number
    version: int
    event_id: int | None
    lot_id: int | None
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class EntryListShape:
    """A page of ledger entries, newest first; `cursor=next_cursor` asks for older ones, null is the end."""

    entries: list[EntryShape]
    count: int
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class ExplainedEventShape:
    """The event as it was reported and booked."""

    id: int
    timestamp: datetime
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
    quantity: Number | None
    description: str | None
    session_id: str | None
    metadata: Annotated[Any, WithJsonSchema({"type": ["object", "null"]})]
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class ComponentShape:
    """One part of the API cost: `tokens` at `rate` USD per million; without tokens, the USD of the request itself.

    `priced_as`: whose rate it is, where the kind has none of its own. `above`: the tier that applied, which is for
    calls of more input tokens than these; null where the rate has no tiers. `cost` is in USD, exact.
    """

    kind: str
    tokens: int | None
    rate: Number
    priced_as: str
    above: int | None
    cost: Number


@dataclass(frozen=True, slots=True)
class DrawShape:
    """Credits of the event from one lot, in the order in which they were drawn; without a lot they are debt."""

    lot_id: int | None
    kind: str | None
    credits: Number


@dataclass(frozen=True, slots=True)
class RefundShape:
    """Credits of the event that were given back."""

    entry_id: int
    amount: Number
    recorded_at: datetime
    reason: str | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class ExplanationShape:
    """Why an event was charged what it was.

    `components` add up to `api_cost` (USD); they are empty where the caller gave the cost, where the action has a price
    of its own (`flat`: credits a use or a unit), and where the fallback rates of the time are not known any more.
    `exact_credits` are `api_cost` x `credits_per_dollar` x `multiplier` (with `flat`: its price x the quantity);
    `credits_charged` are those rounded half up to 12 decimals.
    """

    event: ExplainedEventShape
    price: PriceShape
    components: list[ComponentShape]
    flat: Annotated[Any, WithJsonSchema({"type": ["object", "null"]})]
    api_cost: Number | None
    exact_credits: Number
    credits_charged: Number
    balance_before: Number
    balance_after: Number
    lots: list[DrawShape]
    refunds: list[RefundShape]
    refunded: Number
    voided: bool
    voided_at: datetime | None
    void_reason: str | None
    voided_by: str | None
    hold: CapturedHoldShape | None
