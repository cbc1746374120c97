"""One user's balance, and what led to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.model.lots import Lots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from tests.model.answers import Answer
    from tests.model.lots import Lot, Piece

HOLD_LONGEST = timedelta(days=7)
REFUND_LEAST = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row of the ledger. `lot` is the number of the one that it brought in or took away, `event` the refunded key."""

    kind: str
    amount: Decimal
    at: datetime
    version: int
    balance_after: Decimal
    lot: int | None = None
    event: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Event:
    """A charge, and the pieces that paid for it."""

    key: str
    credits: Decimal
    version: int
    recorded_at: datetime
    pieces: list[Piece]
    hold: Hold | None
    refunded: Decimal = Decimal(0)
    is_voided: bool = False
    voided_as: int | None = None  # the version of the void


@dataclass(slots=True, kw_only=True, eq=False)
class Hold:
    """Credits set aside. An open one stops counting when its end has come, whether anybody wrote that down or not."""

    key: str
    amount: Decimal
    created_at: datetime
    expires_at: datetime
    state: str = "open"

    def state_at(self, at: datetime) -> str:
        """Say what it is at this instant."""
        return "expired" if self.state == "open" and self.expires_at <= at else self.state

    def counts(self, at: datetime) -> Decimal:
        """Say how much it sets aside at this instant."""
        return self.amount if self.state_at(at) == "open" else Decimal(0)

    def renew(self, at: datetime, ttl: timedelta) -> None:
        """Make it last longer, never shorter, and never longer than a hold may."""
        self.expires_at = min(max(self.expires_at, at + ttl), self.created_at + HOLD_LONGEST)


@dataclass(slots=True, kw_only=True)
class Account:
    """One user's balance and all that moved it. `keys` has what each key was used for, and the first answer."""

    allowance: Decimal
    period_start: datetime
    next_reset_at: datetime
    last_booking: datetime
    balance: Decimal = Decimal(0)
    overdraft: Decimal = Decimal(0)
    rollover_cap: Decimal = Decimal(0)
    month: Decimal = Decimal(0)
    consumed: Decimal = Decimal(0)
    voided: Decimal = Decimal(0)
    version: int = 0
    granted: Decimal = Decimal(0)  # as allowance, in this period
    was_raised: bool = False
    lots: Lots = field(default_factory=Lots)
    entries: list[Entry] = field(default_factory=list)
    events: dict[str, Event] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    keys: dict[str, tuple[str, object, Answer]] = field(default_factory=dict)

    def held(self, at: datetime) -> Decimal:
        """Sum up what open holds set aside at this instant."""
        return sum((hold.counts(at) for hold in self.holds.values()), Decimal(0))

    def available(self, at: datetime) -> Decimal:
        """Say what may be spent at this instant where credits are enforced."""
        return self.balance + self.overdraft - self.held(at)

    def move(self, amount: Decimal, at: datetime) -> None:
        """Move the balance, which is a version of its own."""
        self.balance += amount
        self.version += 1
        self.last_booking = max(self.last_booking, at)

    def book(
        self, kind: str, amount: Decimal, at: datetime, *, lot: Lot | None = None, event: Event | None = None
    ) -> None:
        """Move the balance by one ledger entry."""
        self.move(amount, at)
        self.entries.append(
            Entry(
                kind=kind,
                amount=amount,
                at=at,
                version=self.version,
                balance_after=self.balance,
                lot=None if lot is None else lot.number,
                event=None if event is None else event.key,
            )
        )
        if kind == "allowance":
            self.granted += amount

    def bring_in(self, lot: Lot, at: datetime) -> None:
        """Book a lot whose time has come."""
        lot.is_booked = True
        self.book(lot.kind, lot.amount, at, lot=lot)

    def take(self, key: str, credits_: Decimal, at: datetime, hold: Hold | None, *, settled: bool = False) -> Event:
        """Book a charge: its credits are drawn from lots here and now, but for those that are settled otherwise."""
        self.move(-credits_, at)
        self.month += credits_
        self.consumed += credits_
        event = self.events[key] = Event(
            key=key,
            credits=credits_,
            version=self.version,
            recorded_at=at,
            pieces=self.lots.owe(credits_) if settled else self.lots.draw(credits_, at),
            hold=hold,
        )
        return event

    def settle(self, amount: Decimal, at: datetime) -> None:
        """Pay for the last charges by an adjustment of their sum, which pays for nothing else."""
        lot = self.lots.bring_in("adjustment", amount, starts_at=at, priority=0)
        self.bring_in(lot, at)
        self.lots.pay_last(lot)

    def take_out(self, event: Event, at: datetime) -> None:
        """Void a charge and return all of it."""
        self.move(event.credits, at)
        self.consumed -= event.credits
        self.voided += event.credits
        if event.recorded_at >= self.period_start:
            self.month -= event.credits
        event.is_voided = True
        event.voided_as = self.version
        self.give_back(event, event.credits, at)

    def give_back(self, event: Event, amount: Decimal, at: datetime) -> None:
        """Return the last credits of a charge to where they came from; the balance has been moved."""
        self.lots.give_back(event.pieces, amount, at, max(self.next_reset_at, at + REFUND_LEAST))
        self.lots.pay_debts(at)

    def roll(self, instant: datetime, following: Callable[[datetime], datetime]) -> None:
        """Carry out each boundary that is due, one by one, each at its own instant."""
        while (at := self.next_boundary()) <= instant:
            self._cross(at, following)

    def next_boundary(self) -> datetime:
        """Return when the balance next changes by itself."""
        starts = (lot.starts_at for lot in self.lots.lots if not lot.is_booked)
        ends = (lot.expires_at for lot in self.lots.lots if lot.is_booked and lot.remaining and lot.expires_at)
        return min([self.next_reset_at, *starts, *ends])

    def _cross(self, at: datetime, following: Callable[[datetime], datetime]) -> None:
        """Cross one boundary: what expires; at a reset what rolls over and the allowance; what starts; debts last."""
        expired = [lot for lot in self.lots.in_order() if lot.is_booked and lot.remaining and lot.is_expired(at)]
        unused = self._expire(expired, at)
        if self.next_reset_at == at:
            self._reset(at, min(unused, self.rollover_cap), following(at))
        for lot in self.lots.lots:
            if not lot.is_booked and lot.starts_at <= at:
                self.bring_in(lot, at)
        self.lots.pay_debts(at)

    def _expire(self, lots: Iterable[Lot], at: datetime) -> Decimal:
        """Let what is left of these lots go; returns how much of it was allowance, of this period or the one before."""
        unused = Decimal(0)
        for lot in lots:
            self.book("expiry", -lot.remaining, at, lot=lot)
            if lot.kind in {"allowance", "rollover"}:
                unused += lot.remaining
            lot.remaining = Decimal(0)
        return unused

    def _reset(self, at: datetime, kept: Decimal, next_reset_at: datetime) -> None:
        self.granted = self.month = Decimal(0)
        self.period_start, self.next_reset_at = at, next_reset_at
        self.last_booking = max(self.last_booking, at)
        for kind, amount in (("rollover", kept), ("allowance", self.allowance)):
            if amount:
                self.bring_in(self.lots.bring_in(kind, amount, starts_at=at, expires_at=next_reset_at), at)
