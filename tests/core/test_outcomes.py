"""The names of outcomes are public interface, and their order is their precedence."""

from __future__ import annotations

from groat_server.core.outcomes import DETAILS, OPERATION_DETAILS, OperationOutcome, Outcome


def test_names_and_order_of_outcomes_stay() -> None:
    """A new outcome finds its place in this list; none is ever renamed or given another meaning."""
    assert [outcome.value for outcome in Outcome] == [
        "invalid",
        "unknown_user",
        "untracked",
        "busy",
        "replayed",
        "idempotency_conflict",
        "unknown_hold",
        "hold_captured",
        "unknown_action_type",
        "unknown_model",
        "unpriced_action",
        "inconsistent_tokens",
        "cost_out_of_bounds",
        "occurred_in_future",
        "occurred_too_long_ago",
        "insufficient_credits",
        "recorded",
        "failed",
    ]


def test_names_and_order_of_the_other_verbs_outcomes_stay() -> None:
    """As those of charges."""
    assert [outcome.value for outcome in OperationOutcome] == [
        "unknown_user",
        "untracked",
        "demo_mode",
        "busy",
        "idempotency_conflict",
        "unknown_hold",
        "hold_captured",
        "hold_not_open",
        "unknown_event",
        "event_voided",
        "event_refunded",
        "nothing_to_refund",
        "refund_exceeds_charge",
        "expires_too_early",
        "insufficient_credits",
        "held",
        "renewed",
        "released",
        "granted",
        "scheduled",
        "adjusted",
        "refunded",
        "voided",
    ]


def test_every_outcome_is_explained() -> None:
    assert DETAILS.keys() == set(Outcome)
    assert OPERATION_DETAILS.keys() == set(OperationOutcome)


def test_only_what_was_booked_or_is_not_tracked_is_no_refusal() -> None:
    assert {outcome for outcome in Outcome if not outcome.is_refusal} == {
        Outcome.RECORDED,
        Outcome.REPLAYED,
        Outcome.UNTRACKED,
    }


def test_what_the_other_verbs_have_done_or_need_not_do_is_no_refusal() -> None:
    assert {outcome.value for outcome in OperationOutcome if not outcome.is_refusal} == {
        "untracked", "held", "renewed", "released", "granted", "scheduled", "adjusted", "refunded", "voided",
    }  # fmt: skip
