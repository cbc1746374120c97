"""Lots, drawn on by each charge the moment it is booked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = datetime.max.replace(tzinfo=UTC)
PRIORITIES = {"allowance": 10, "rollover": 10, "promotion": 20, "adjustment": 30, "purchase": 50}


@dataclass(slots=True, kw_only=True, eq=False)
class Lot:
    """What is left of one grant. One that is still to start is not booked yet."""

    number: int  # in order of coming
    kind: str
    amount: Decimal
    remaining: Decimal
    priority: int
    cost_basis: Decimal | None
    starts_at: datetime
    expires_at: datetime | None
    is_booked: bool

    def place(self) -> tuple[object, ...]:
        """Where it stands among those to be drawn on: priority, soonest expiry, free before paid, oldest."""
        return (self.priority, self.expires_at or NEVER, bool(self.cost_basis), self.starts_at, self.number)

    def is_usable(self, at: datetime) -> bool:
        """Whether there is anything to spend at `at`: from its start on, up to its expiry and not at it."""
        return self.is_booked and self.starts_at <= at and not self.is_expired(at) and self.remaining > 0

    def is_expired(self, at: datetime) -> bool:
        """Whether its end has come."""
        return self.expires_at is not None and self.expires_at <= at


@dataclass(slots=True, eq=False)
class Piece:
    """Consecutive credits of one charge that one lot paid for; without a lot they are debt until one does."""

    amount: Decimal
    lot: Lot | None
    is_returned: bool = False

    @property
    def is_owed(self) -> bool:
        """Whether nobody has paid for these credits yet."""
        return self.lot is None and not self.is_returned

    def cut(self, amount: Decimal) -> Piece:
        """Cut so many credits off the end."""
        self.amount -= amount
        return Piece(amount, self.lot, self.is_returned)


@dataclass(slots=True)
class Lots:
    """A user's lots, and the pieces of all that the user ever consumed, in order."""

    lots: list[Lot] = field(default_factory=list)
    consumed: list[list[Piece]] = field(default_factory=list)

    def bring_in(
        self,
        kind: str,
        amount: Decimal,
        *,
        starts_at: datetime,
        expires_at: datetime | None = None,
        priority: int | None = None,
        cost_basis: Decimal | None = None,
        is_booked: bool = True,
    ) -> Lot:
        """Add a lot, its priority that of its kind unless there is another."""
        lot = Lot(
            number=len(self.lots),
            kind=kind,
            amount=amount,
            remaining=amount,
            priority=PRIORITIES[kind] if priority is None else priority,
            cost_basis=cost_basis,
            starts_at=starts_at,
            expires_at=expires_at,
            is_booked=is_booked,
        )
        self.lots.append(lot)
        return lot

    def in_order(self) -> list[Lot]:
        """List the lots as they are drawn on."""
        return sorted(self.lots, key=Lot.place)

    def draw(self, amount: Decimal, at: datetime) -> list[Piece]:
        """Take so many credits from what is usable at `at`; what is not there is debt. Returns the pieces."""
        pieces = list(self._taken(amount, at))
        if missing := amount - sum((piece.amount for piece in pieces), Decimal(0)):
            pieces.append(Piece(missing, None))
        self.consumed.append(pieces)
        return pieces

    def owe(self, amount: Decimal) -> list[Piece]:
        """Take credits from no lot. Returns the pieces."""
        self.consumed.append([Piece(amount, None)] if amount else [])
        return self.consumed[-1]

    def pay_last(self, lot: Lot) -> None:
        """Pay from one lot what was owed last, as far as it goes."""
        for pieces in reversed(self.consumed):
            if not lot.remaining:
                break
            for piece in pieces:
                piece.lot = lot
                lot.remaining -= piece.amount

    def pay_debts(self, at: datetime) -> None:
        """Pay what is owed, the oldest first and in its place, as far as there is anything."""
        for pieces in self.consumed:
            if any(piece.is_owed for piece in pieces):
                pieces[:] = [paid for piece in pieces for paid in self._paid(piece, at)]

    def debt(self) -> Decimal:
        """Sum up what is owed."""
        return sum((piece.amount for pieces in self.consumed for piece in pieces if piece.is_owed), Decimal(0))

    def remaining(self) -> Decimal:
        """Sum up what there is to spend."""
        return sum((lot.remaining for lot in self.lots if lot.is_booked), Decimal(0))

    def give_back(self, pieces: list[Piece], amount: Decimal, at: datetime, until: datetime) -> None:
        """Return so many credits of these pieces, those drawn last first.

        They go to the lots they came from. Where one has expired they go to a new one that lasts `until`; what is still
        owed is owed no more.
        """
        lost: dict[Lot, Decimal] = {}
        for piece in reversed(_cut_off(pieces, amount)):
            piece.is_returned = True
            if piece.lot is None:
                continue
            if piece.lot.is_expired(at):
                lost[piece.lot] = lost.get(piece.lot, Decimal(0)) + piece.amount
            else:
                piece.lot.remaining += piece.amount
        for lot, credits_ in lost.items():
            self.bring_in(
                "refund", credits_, starts_at=at, expires_at=until, priority=lot.priority, cost_basis=lot.cost_basis
            )

    def _paid(self, piece: Piece, at: datetime) -> Iterator[Piece]:
        if not piece.is_owed:
            yield piece
            return
        owed = piece.amount
        for taken in self._taken(owed, at):
            owed -= taken.amount
            yield taken
        if owed:
            yield Piece(owed, None)

    def _taken(self, amount: Decimal, at: datetime) -> Iterator[Piece]:
        for lot in self.in_order():
            if amount and lot.is_usable(at):
                taken = min(amount, lot.remaining)
                lot.remaining -= taken
                amount -= taken
                yield Piece(taken, lot)


def _cut_off(pieces: list[Piece], amount: Decimal) -> list[Piece]:
    """Find the last `amount` credits that were not given back yet, last piece first; the one they begin in is cut."""
    found: list[Piece] = []
    for place in range(len(pieces) - 1, -1, -1):
        piece = pieces[place]
        if piece.is_returned or not amount:
            continue
        if piece.amount > amount:
            piece = piece.cut(amount)
            pieces.insert(place + 1, piece)
        amount -= piece.amount
        found.append(piece)
    assert not amount
    return found
