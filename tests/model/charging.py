"""Charging one use to an account."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.model.answers import Answer

if TYPE_CHECKING:
    from datetime import datetime

    from tests.model.account import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """A charge. Its content is its kind and amount; `credits` None has no price, and then `refusal` says why.

    `hold` is the key of the hold that it captures.
    """

    user_id: int
    key: str
    credits: Decimal | None
    content: tuple[str, Decimal]
    enforce: bool = False
    refusal: str | None = None
    hold: str | None = None

    def same(self) -> object:
        """Return what a repeat has to agree in."""
        return self.content, self.hold


def charge(account: Account, usage: ModelUsage, instant: datetime, *, settled: bool = False) -> Answer:
    """Book a charge, or say why not. What is due has happened."""
    outcome = _decision(account, usage, instant)
    if outcome == "replayed":
        _, _, first = account.keys[usage.key]
        # A charge says that it is a repeat by its outcome. What is held is said as of now.
        return replace(first, outcome=outcome, voided=account.events[usage.key].is_voided, held=None)
    if outcome != "recorded" or usage.credits is None:
        return replace(standing(account, instant), outcome=outcome)
    hold = None if usage.hold is None else account.holds[usage.hold]
    is_late = None if hold is None else hold.state_at(instant) != "open"
    event = account.take(usage.key, usage.credits, instant, hold, settled=settled)
    if hold is not None:
        hold.state = "captured"
    answer = replace(
        standing(account, instant),
        outcome="recorded",
        amount=usage.credits,
        version=event.version,
        hold_exceeded=None if hold is None else usage.credits > hold.amount,
        late_capture=is_late,
        voided=False,
    )
    account.keys[usage.key] = "charge", usage.same(), answer
    return answer


def standing(account: Account, at: datetime) -> Answer:
    """Say what an account has at an instant."""
    return Answer(outcome="", balance=account.balance, held=account.held(at), available=account.available(at))


def _decision(account: Account, usage: ModelUsage, instant: datetime) -> str:
    if usage.key in account.keys:
        verb, content, _ = account.keys[usage.key]
        return "replayed" if (verb, content) == ("charge", usage.same()) else "idempotency_conflict"
    own = Decimal(0)
    if usage.hold is not None:
        hold = account.holds.get(usage.hold)
        if hold is None:
            return "unknown_hold"
        if hold.state == "captured":
            return "hold_captured"
        own = hold.counts(instant)
    if usage.credits is None:
        return usage.refusal or ""
    if usage.enforce and usage.credits > 0 and usage.credits > account.available(instant) + own:
        return "insufficient_credits"
    return "recorded"
