"""What can become of a charge, and of every other verb that moves credits or sets them aside.

The order is the order of precedence: the first that applies is the answer. Described one by one in docs/outcomes.md.
Names are public interface: never renamed, never given another meaning.
"""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of one charge."""

    INVALID = "invalid"
    UNKNOWN_USER = "unknown_user"
    UNTRACKED = "untracked"
    BUSY = "busy"
    REPLAYED = "replayed"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    UNKNOWN_HOLD = "unknown_hold"
    HOLD_CAPTURED = "hold_captured"
    UNKNOWN_ACTION_TYPE = "unknown_action_type"
    UNKNOWN_MODEL = "unknown_model"
    UNPRICED_ACTION = "unpriced_action"
    INCONSISTENT_TOKENS = "inconsistent_tokens"
    COST_OUT_OF_BOUNDS = "cost_out_of_bounds"
    OCCURRED_IN_FUTURE = "occurred_in_future"
    OCCURRED_TOO_LONG_AGO = "occurred_too_long_ago"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    RECORDED = "recorded"
    FAILED = "failed"

    @property
    def is_refusal(self) -> bool:
        """Whether nothing was booked, now or earlier, though the user is tracked."""
        return self not in {Outcome.RECORDED, Outcome.REPLAYED, Outcome.UNTRACKED}


DETAILS = {
    Outcome.INVALID: "The charge is malformed.",
    Outcome.UNKNOWN_USER: "Nobody is known by this user id, e-mail address or external id.",
    Outcome.UNTRACKED: "The user is in demo mode and is not tracked.",
    Outcome.BUSY: "Somebody else holds this user's balance; send the same charge again.",
    Outcome.REPLAYED: "This key was charged before; this is the first answer.",
    Outcome.IDEMPOTENCY_CONFLICT: "This key was used before for a charge with other content.",
    Outcome.UNKNOWN_HOLD: "There is no such hold.",
    Outcome.HOLD_CAPTURED: "This hold was captured before, under another key.",
    Outcome.UNKNOWN_ACTION_TYPE: "This action type is not registered, and no more are taken.",
    Outcome.UNKNOWN_MODEL: "No price is known for this model; where several providers list it, name the provider.",
    Outcome.UNPRICED_ACTION: "This action has no price of its own, and the charge names no model.",
    Outcome.INCONSISTENT_TOKENS: "Cached tokens are parts of input_tokens, and reasoning tokens of output_tokens.",
    Outcome.COST_OUT_OF_BOUNDS: "The cost is above the bound of one million dollars.",
    Outcome.OCCURRED_IN_FUTURE: "occurred_at lies more than five minutes in the future.",
    Outcome.OCCURRED_TOO_LONG_AGO: "occurred_at lies more than 35 days in the past; backfill (scope admin) allows it.",
    Outcome.INSUFFICIENT_CREDITS: "The available credits do not cover this charge.",
    Outcome.RECORDED: "Charged.",
    Outcome.FAILED: "The charge could not be stored; it was not charged.",
}


class OperationOutcome(StrEnum):
    """The outcome of a hold, a grant, an adjustment, a refund or a void, in the order of precedence."""

    UNKNOWN_USER = "unknown_user"
    UNTRACKED = "untracked"
    DEMO_MODE = "demo_mode"
    BUSY = "busy"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    UNKNOWN_HOLD = "unknown_hold"
    HOLD_CAPTURED = "hold_captured"
    HOLD_NOT_OPEN = "hold_not_open"
    UNKNOWN_EVENT = "unknown_event"
    EVENT_VOIDED = "event_voided"
    EVENT_REFUNDED = "event_refunded"
    NOTHING_TO_REFUND = "nothing_to_refund"
    REFUND_EXCEEDS_CHARGE = "refund_exceeds_charge"
    EXPIRES_TOO_EARLY = "expires_too_early"
    INSUFFICIENT_CREDITS = "insufficient_credits"
    HELD = "held"
    RENEWED = "renewed"
    RELEASED = "released"
    GRANTED = "granted"
    SCHEDULED = "scheduled"
    ADJUSTED = "adjusted"
    REFUNDED = "refunded"
    VOIDED = "voided"

    @property
    def is_refusal(self) -> bool:
        """Whether nothing was done, now or earlier, though the user is tracked."""
        return self not in _DONE and self is not OperationOutcome.UNTRACKED


_DONE = {
    OperationOutcome.HELD,
    OperationOutcome.RENEWED,
    OperationOutcome.RELEASED,
    OperationOutcome.GRANTED,
    OperationOutcome.SCHEDULED,
    OperationOutcome.ADJUSTED,
    OperationOutcome.REFUNDED,
    OperationOutcome.VOIDED,
}

OPERATION_DETAILS = {
    OperationOutcome.UNKNOWN_USER: DETAILS[Outcome.UNKNOWN_USER],
    OperationOutcome.UNTRACKED: DETAILS[Outcome.UNTRACKED],
    OperationOutcome.DEMO_MODE: "A user in demo mode has no balance, so there is nothing to give or take.",
    OperationOutcome.BUSY: "Somebody else holds this user's balance; send the same request again.",
    OperationOutcome.IDEMPOTENCY_CONFLICT: "This key was used before for something else.",
    OperationOutcome.UNKNOWN_HOLD: DETAILS[Outcome.UNKNOWN_HOLD],
    OperationOutcome.HOLD_CAPTURED: "This hold was captured: its credits are charged.",
    OperationOutcome.HOLD_NOT_OPEN: "This hold is not open any more; only an open one can be renewed.",
    OperationOutcome.UNKNOWN_EVENT: "This user has no such event.",
    OperationOutcome.EVENT_VOIDED: "This event was voided: its credits are back already.",
    OperationOutcome.EVENT_REFUNDED: "This event was refunded, in whole or in part, so it cannot be voided.",
    OperationOutcome.NOTHING_TO_REFUND: "Of this event nothing is left to refund.",
    OperationOutcome.REFUND_EXCEEDS_CHARGE: "The refunds of an event cannot exceed what was charged for it.",
    OperationOutcome.EXPIRES_TOO_EARLY: "The credits would expire before they could be used.",
    OperationOutcome.INSUFFICIENT_CREDITS: "The available credits do not cover this hold.",
    OperationOutcome.HELD: "Set aside.",
    OperationOutcome.RENEWED: "The hold lasts longer.",
    OperationOutcome.RELEASED: "The hold counts no more.",
    OperationOutcome.GRANTED: "Granted.",
    OperationOutcome.SCHEDULED: "The credits will be there when their time comes.",
    OperationOutcome.ADJUSTED: "Adjusted.",
    OperationOutcome.REFUNDED: "Refunded.",
    OperationOutcome.VOIDED: "Voided: the event is out of the books, its credits are back.",
}
