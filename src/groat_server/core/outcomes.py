"""What can become of a charge. The order is the order of precedence: the first that applies is the answer.

Described one by one in docs/outcomes.md. Names are public interface: never renamed, never given another meaning.
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
