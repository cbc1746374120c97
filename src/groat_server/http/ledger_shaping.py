"""From rows to the shapes of `ledger_shapes`, and from refusals to errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from groat_server.core.credits import EXACT, trimmed
from groat_server.core.holds import HoldName
from groat_server.core.outcomes import OPERATION_DETAILS, OperationOutcome
from groat_server.core.pricing import Charge
from groat_server.core.rates import rates_json
from groat_server.errors import Busy, Conflict, GroatError, InsufficientCredits, NotFound, Unprocessable
from groat_server.http.ledger_shapes import (
    CapturedHoldShape,
    CaptureShape,
    ComponentShape,
    DrawShape,
    ExplainedEventShape,
    ExplanationShape,
    HoldDetailsShape,
    HoldShape,
    RefundShape,
    UntrackedHoldShape,
)
from groat_server.http.shapes import UntrackedShape
from groat_server.http.shaping import Shape, price_shape, receipt_shape, shaped

if TYPE_CHECKING:
    from groat_server.core.pricing import CostSource
    from groat_server.core.rows import ExplainedEventRow, HoldOperationRow, HoldRow, OperationRow
    from groat_server.operations.explain import Explanation
    from groat_server.operations.holds import Capture, Placement

_REFUSALS: dict[OperationOutcome, type[GroatError]] = {
    OperationOutcome.UNKNOWN_USER: NotFound,
    OperationOutcome.DEMO_MODE: Conflict,
    OperationOutcome.BUSY: Busy,
    OperationOutcome.IDEMPOTENCY_CONFLICT: Conflict,
    OperationOutcome.UNKNOWN_HOLD: NotFound,
    OperationOutcome.HOLD_CAPTURED: Conflict,
    OperationOutcome.HOLD_NOT_OPEN: Conflict,
    OperationOutcome.UNKNOWN_EVENT: NotFound,
    OperationOutcome.EVENT_VOIDED: Conflict,
    OperationOutcome.EVENT_REFUNDED: Conflict,
    OperationOutcome.NOTHING_TO_REFUND: Conflict,
    OperationOutcome.REFUND_EXCEEDS_CHARGE: Conflict,
    OperationOutcome.EXPIRES_TOO_EARLY: Unprocessable,
    OperationOutcome.INSUFFICIENT_CREDITS: InsufficientCredits,
}


def operation_refusal(outcome: OperationOutcome, **members: object) -> GroatError:
    """Return the error that a refused verb is answered with."""
    headers = {"Retry-After": "1"} if outcome is OperationOutcome.BUSY else None
    return _REFUSALS[outcome](OPERATION_DETAILS[outcome], code=outcome.value, members=members, headers=headers)


def operation_shape(shape: type[Shape], row: OperationRow) -> Shape:
    """Return the answer of a grant, an adjustment, a refund or a void. Raises the GroatError that a refusal is."""
    outcome = OperationOutcome(row.outcome)
    if outcome.is_refusal:
        raise operation_refusal(outcome)
    return shaped(shape, row)


def hold_shape(user_id: int, row: HoldOperationRow) -> HoldShape:
    """Return the answer of a hold, its renewal or its release. Raises the GroatError that a refusal is."""
    outcome = OperationOutcome(row.outcome)
    if outcome is OperationOutcome.INSUFFICIENT_CREDITS:
        told = ("available", "balance", "held", "next_reset_at")
        raise operation_refusal(outcome, required=row.amount, **{name: getattr(row, name) for name in told})
    if outcome.is_refusal:
        raise operation_refusal(outcome)
    return shaped(HoldShape, row, id=_name(user_id, row.hold_id), tracked=True)


def placement_shape(placement: Placement) -> HoldShape | UntrackedHoldShape:
    """Return the answer to a hold that was asked for. Raises the GroatError that a refusal is."""
    if placement.outcome is not OperationOutcome.UNTRACKED:
        return hold_shape(placement.asked.user_id, placement.row)
    charge = placement.charge
    return UntrackedHoldShape(
        id=None,
        outcome=placement.outcome,
        tracked=False,
        reason="demo_mode",
        replayed=False,
        amount=placement.amount,
        price=price_shape(charge, placement.version, placement.asked.model) if charge else None,
    )


def hold_details_shape(row: HoldRow) -> HoldDetailsShape:
    """Return one hold as of now."""
    return shaped(HoldDetailsShape, row, id=_name(row.user_id, row.id))


def capture_shape(capture: Capture) -> CaptureShape | UntrackedShape:
    """Return the answer to a capture. Raises the GroatError that a refusal is."""
    receipt = receipt_shape(capture.receipt)
    row, hold = capture.receipt.row, capture.hold
    if isinstance(receipt, UntrackedShape):
        return receipt
    assert row is not None and hold is not None  # noqa: PT018, S101 - what was booked was booked on a hold
    captured = CapturedHoldShape(
        _name(hold.user_id, hold.id),
        hold.amount,
        exceeded_hold=bool(row.hold_exceeded),
        late_capture=bool(row.late_capture),
    )
    return shaped(CaptureShape, receipt, hold=captured)


def explanation_shape(user_id: int, explained: Explanation) -> ExplanationShape:
    """Return why an event was charged what it was."""
    event = explained.event
    charge = Charge(
        credits_charged=event.credits_charged,
        api_cost=event.api_cost,
        credits_per_dollar=event.credits_per_dollar,
        multiplier=event.multiplier,
        cost_source=cast("CostSource", event.cost_source),
        price_id=event.price_id,
        valid_from=None,
        valid_until=None,
    )
    return ExplanationShape(
        event=shaped(ExplainedEventShape, event, timestamp=event.created_at),
        price=price_shape(charge, explained.version, event.model),
        components=[shaped(ComponentShape, part) for part in explained.components],
        flat=None if explained.flat is None else msgspec.Raw(rates_json(explained.flat).encode()),
        api_cost=event.api_cost,
        exact_credits=explained.exact,
        credits_charged=event.credits_charged,
        balance_before=trimmed(EXACT.add(event.balance_after, event.credits_charged)),
        balance_after=event.balance_after,
        lots=[shaped(DrawShape, draw) for draw in explained.lots],
        refunds=[shaped(RefundShape, row, entry_id=row.id) for row in explained.refunds],
        refunded=explained.refunded,
        voided=event.voided_at is not None,
        voided_at=event.voided_at,
        void_reason=event.void_reason,
        voided_by=event.voided_by,
        hold=_hold_of(user_id, event),
    )


def _hold_of(user_id: int, event: ExplainedEventRow) -> CapturedHoldShape | None:
    if event.hold_id is None or event.hold_amount is None:
        return None
    return CapturedHoldShape(
        _name(user_id, event.hold_id),
        event.hold_amount,
        exceeded_hold=event.credits_charged > event.hold_amount,
        late_capture=bool(event.late_capture),
    )


def _name(user_id: int, hold_id: int | None) -> str:
    assert hold_id is not None  # noqa: S101 - what was not refused has one
    return str(HoldName(user_id, hold_id))
