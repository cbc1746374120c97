"""What charges would have cost at other prices, and how many of them the credits would not have covered.

A history is replayed user by user, in order of version, beside itself: `drift` is what the balance would have been more
(or less) than it was. A charge moves it by the difference in cost, and nothing else does but a reset, at which what is
left of an allowance expires: less of it is left at higher prices. So each balance, overdraft and hold of the past comes
into it as it was, from the stored `available_after`, and only the drift is kept.

Of the order in which credits are spent it knows this much: the allowance first, with what rolled over, and all other
credits after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from groat_server.core.credits import EXACT, ZERO, trimmed

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a balance, with its user: a charge if it has an action type, else a reset or an allowance raised.

    `given_cost` is the USD that the caller stated. `is_settled`: the charge was imported with an adjustment of its sum.
    """

    user_id: int
    email: str
    monthly_allowance: Decimal
    rollover_cap: Decimal
    version: int
    balance_after: Decimal
    action_type: str | None
    created_at: datetime
    model: str | None
    provider: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    quantity: Decimal | None
    given_cost: Decimal | None
    credits_charged: Decimal
    available_after: Decimal
    is_settled: bool
    is_reset: bool
    granted: Decimal
    rolled_over: Decimal
    expired: Decimal


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a charge exceeded the credits available before it, as it was charged and at the simulated price."""

    exceeded: bool
    would_exceed: bool


@dataclass(slots=True)
class Tally:
    """Figures of some charges. `credits_charged` as they were, `credits_simulated` at the simulated prices.

    `exceeding` counts those that exceeded what was available, so that they would have been refused had they been
    enforced; `exceeding_simulated` the same at the simulated prices; `newly_refused` and `newly_accepted` are the
    charges in one of these counts only. `unpriceable` ones have no price in the simulated book, and are taken as they
    were charged.
    """

    events: int = 0
    credits_charged: Decimal = ZERO
    credits_simulated: Decimal = ZERO
    exceeding: int = 0
    exceeding_simulated: int = 0
    newly_refused: int = 0
    newly_accepted: int = 0
    unpriceable: int = 0

    @property
    def difference(self) -> Decimal:
        """What would have been charged more, or less."""
        return trimmed(EXACT.subtract(self.credits_simulated, self.credits_charged))

    def count(self, charged: Decimal, simulated: Decimal | None, verdict: Verdict | None) -> None:
        """Count one charge; `simulated` None: it has no price; `verdict` None: it was not replayed."""
        self.events += 1
        self.credits_charged = EXACT.add(self.credits_charged, charged)
        self.credits_simulated = EXACT.add(self.credits_simulated, charged if simulated is None else simulated)
        self.unpriceable += simulated is None
        if verdict is not None:
            self.exceeding += verdict.exceeded
            self.exceeding_simulated += verdict.would_exceed
            self.newly_refused += verdict.would_exceed and not verdict.exceeded
            self.newly_accepted += verdict.exceeded and not verdict.would_exceed


@dataclass(slots=True)
class _Period:
    """What has become of the allowance since the last reset, in one of the two histories."""

    allowance: Decimal = ZERO
    spent: Decimal = ZERO


@dataclass(slots=True)
class Replay:
    """One user's history beside the simulated one, under the user's present `monthly_allowance` and `rollover_cap`."""

    monthly_allowance: Decimal
    rollover_cap: Decimal
    drift: Decimal = ZERO
    _stored: _Period = field(default_factory=_Period)
    _simulated: _Period = field(default_factory=_Period)
    _has_begun: bool = False

    def charge(self, move: Move, simulated: Decimal | None) -> Verdict | None:
        """Replay a charge at its simulated price; None: it has none, and is taken as it was charged.

        It counts as recorded in both histories: the next one meets what it left, also where it exceeds what there was.
        Settled history moves no balance at any price, and has no verdict.
        """
        if move.is_settled:
            return None
        charged = move.credits_charged
        owed = charged if simulated is None else simulated
        if not self._has_begun:
            self._begin(EXACT.add(move.balance_after, charged))
        available = EXACT.add(move.available_after, charged)
        verdict = Verdict(
            exceeded=charged > 0 and charged > available,
            would_exceed=owed > 0 and owed > EXACT.add(available, self.drift),
        )
        self.drift = EXACT.subtract(EXACT.add(self.drift, charged), owed)
        self._stored.spent = EXACT.add(self._stored.spent, charged)
        self._simulated.spent = EXACT.add(self._simulated.spent, owed)
        return verdict

    def pass_allowance(self, move: Move) -> None:
        """Replay a reset, or an allowance raised within a period."""
        if move.is_reset:
            self._reset(move)
        elif self._has_begun:
            self._stored.allowance = EXACT.add(self._stored.allowance, move.granted)
            self._simulated.allowance = EXACT.add(self._simulated.allowance, move.granted)

    def _reset(self, move: Move) -> None:
        left = max(ZERO, EXACT.subtract(self._simulated_allowance(move.expired), self._simulated.spent))
        kept = move.rolled_over if left == move.expired else min(left, self.rollover_cap)
        self.drift = EXACT.add(self.drift, EXACT.subtract(move.expired, left))
        self.drift = EXACT.add(self.drift, EXACT.subtract(kept, move.rolled_over))
        # What comes in pays debt first.
        after = EXACT.add(move.balance_after, self.drift)
        self._stored = _Period(_above_debt(EXACT.add(move.granted, move.rolled_over), move.balance_after))
        self._simulated = _Period(_above_debt(EXACT.add(move.granted, kept), after))
        self._has_begun = True

    def _begin(self, balance: Decimal) -> None:
        """Begin within a period: of its allowance there can be no more left than there are credits."""
        self._has_begun = True
        self._stored.allowance = self._simulated.allowance = _above_debt(self.monthly_allowance, balance)

    def _simulated_allowance(self, expired: Decimal) -> Decimal:
        """Return what the period's allowance came to in the simulated history: known from what was left, if any was."""
        spent = self._stored.spent
        stored = EXACT.add(expired, spent) if expired else min(self._stored.allowance, spent)
        return EXACT.add(stored, EXACT.subtract(self._simulated.allowance, self._stored.allowance))


def _above_debt(granted: Decimal, balance: Decimal) -> Decimal:
    return max(ZERO, min(granted, balance))
