"""What the service answers, as values: frozen, typed, exact.

Every amount is a `Decimal` with the digits that the service wrote and every instant knows its zone.
How a body is read stands beside the type that it becomes; errors are in `_errors`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._members import Members, Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

TAKEN = frozenset({"recorded", "replayed", "untracked"})
"""The outcomes of a charge that was accepted; any other outcome is a refusal."""


@dataclass(frozen=True, slots=True)
class Price:
    """How the credits of a charge came about.

    `credits_per_dollar` and `multiplier` are the factors on the cost in USD. `cost_source` says where
    that cost is from. `members` holds all that the service said, the rates among it.
    """

    cost_source: str | None
    credits_per_dollar: Decimal | None
    multiplier: Decimal | None
    members: Mapping[str, object] = field(hash=False, repr=False)

    @classmethod
    def read(cls, members: Members) -> Price:
        """Read the `price` of an answer."""
        return cls(
            cost_source=members.optional_text("cost_source"),
            credits_per_dollar=members.optional_amount("credits_per_dollar"),
            multiplier=members.optional_amount("multiplier"),
            members=members.everything,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """A charge that was accepted: booked now, booked before, or of a user in demo mode.

    `replayed` marks the answer to a key that was used before; nothing was charged again, and `voided`
    says that the charge has been taken back since. `overdrawn` marks a balance below zero. A user in
    demo mode is not tracked: then `tracked` is False, `reason` says why, and there is a price but no
    `id`, `balance`, `available`, `version` or `created_at`. `api_cost` is in USD, and None for an
    action whose price is in credits.

    The charge that captures a hold has its `hold_id`; `exceeded_hold` marks one of more than was held,
    `late_capture` one after the hold's end.
    """

    outcome: str
    credits_charged: Decimal
    api_cost: Decimal | None
    idempotency_key: str
    id: int | None = None
    tracked: bool = True
    reason: str | None = None
    balance: Decimal | None = None
    available: Decimal | None = None
    overdrawn: bool = False
    version: int | None = None
    replayed: bool = False
    voided: bool = False
    created_at: datetime | None = None
    price: Price | None = None
    hold_id: str | None = None
    exceeded_hold: bool = False
    late_capture: bool = False

    @classmethod
    def read(cls, members: Members, idempotency_key: str) -> Receipt:
        """Read the answer to one charge; the key is the request's."""
        outcome = members.text("outcome")
        hold = members.optional_object("hold")
        return cls(
            outcome=outcome,
            credits_charged=members.amount("credits_charged"),
            api_cost=members.optional_amount("api_cost"),
            idempotency_key=idempotency_key,
            id=members.optional_integer("id"),
            tracked=members.flag("tracked", default=outcome != "untracked"),
            reason=members.optional_text("reason"),
            balance=members.optional_amount("balance"),
            available=members.optional_amount("available"),
            overdrawn=members.flag("overdrawn", default=False),
            version=members.optional_integer("version"),
            replayed=members.flag("replayed", default=outcome == "replayed"),
            voided=members.flag("voided", default=False),
            created_at=members.optional_instant("created_at"),
            price=_price(members),
            hold_id=None if hold is None else hold.text("id"),
            exceeded_hold=hold is not None and hold.flag("exceeded_hold", default=False),
            late_capture=hold is not None and hold.flag("late_capture", default=False),
        )


@dataclass(frozen=True, slots=True)
class PlacedHold:
    """A hold as the service has it, or what it says of a user in demo mode: then there is no `id`."""

    id: str | None
    tracked: bool
    reason: str | None
    amount: Decimal | None
    available: Decimal | None
    expires_at: datetime | None
    replayed: bool

    @classmethod
    def read(cls, members: Members) -> PlacedHold:
        """Read the answer to a hold that was placed or renewed."""
        tracked = members.flag("tracked", default=True)
        return cls(
            id=members.text("id") if tracked else None,
            tracked=tracked,
            reason=members.optional_text("reason"),
            amount=members.amount("amount") if tracked else members.optional_amount("amount"),
            available=members.optional_amount("available"),
            expires_at=members.optional_instant("expires_at"),
            replayed=members.flag("replayed", default=False),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """One charge of a batch that was not accepted; nothing was booked for it.

    `outcome` and `code` are for programs, `detail` is for people, `members` is all that was said.
    The same usage with the same key may be sent again: one that was `busy` passes sooner or later.
    """

    outcome: str
    code: str
    detail: str
    idempotency_key: str
    members: Mapping[str, object] = field(hash=False, repr=False)

    @classmethod
    def read(cls, members: Members, idempotency_key: str) -> Refusal:
        """Read one refused result of a batch; the key is the request's."""
        outcome = members.text("outcome")
        return cls(
            outcome=outcome,
            code=members.optional_text("code") or outcome,
            detail=members.optional_text("detail") or "",
            idempotency_key=idempotency_key,
            members=members.everything,
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a use would cost now: `credits_charged` in credits, `api_cost` in USD."""

    credits_charged: Decimal
    api_cost: Decimal | None
    price: Price | None

    @classmethod
    def read(cls, members: Members) -> Estimate:
        """Read the answer to an estimate."""
        return cls(
            credits_charged=members.amount("credits_charged"),
            api_cost=members.optional_amount("api_cost"),
            price=_price(members),
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """A user's credits: what is there, what is set aside, what can be spent, and what has been.

    `available` is `current_balance + overdraft_limit - held`. `version` grows with each change.
    """

    current_balance: Decimal
    held: Decimal
    available: Decimal
    overdraft_limit: Decimal
    monthly_allowance: Decimal
    current_month_consumed: Decimal
    total_consumed: Decimal
    next_reset_at: datetime | None
    version: int | None

    @classmethod
    def read(cls, members: Members) -> Balance:
        """Read a balance, whether it is the whole answer or its member `balance`."""
        inner = members.optional_object("balance") or members
        return cls(
            current_balance=inner.amount("current_balance"),
            held=inner.amount("held"),
            available=inner.amount("available"),
            overdraft_limit=inner.amount("overdraft_limit"),
            monthly_allowance=inner.amount("monthly_allowance"),
            current_month_consumed=inner.amount("current_month_consumed"),
            total_consumed=inner.amount("total_consumed"),
            next_reset_at=inner.optional_instant("next_reset_at"),
            version=inner.optional_integer("version"),
        )


@dataclass(frozen=True, slots=True)
class Booking:
    """A grant, an adjustment, a refund or a void: `amount` credits, and the balance after them.

    `replayed` marks the answer to a key that was used before. Credits that came in have a `lot_id`; those of a grant
    that is `scheduled` come at `starts_at`. A refund or a void has the `event_id` of its charge.
    """

    outcome: str
    amount: Decimal
    balance: Decimal
    available: Decimal
    idempotency_key: str
    version: int | None
    replayed: bool
    recorded_at: datetime | None
    lot_id: int | None
    event_id: int | None
    starts_at: datetime | None
    expires_at: datetime | None

    @classmethod
    def read(cls, members: Members, idempotency_key: str) -> Booking:
        """Read the answer to any of the four; the key is the request's."""
        return cls(
            outcome=members.text("outcome"),
            amount=members.amount("amount"),
            balance=members.amount("balance"),
            available=members.amount("available"),
            idempotency_key=idempotency_key,
            version=members.optional_integer("version"),
            replayed=members.flag("replayed", default=False),
            recorded_at=members.optional_instant("recorded_at"),
            lot_id=members.optional_integer("lot_id"),
            event_id=members.optional_integer("event_id"),
            starts_at=members.optional_instant("starts_at"),
            expires_at=members.optional_instant("expires_at"),
        )


def read_results(members: Members, keys: Sequence[str]) -> list[Receipt | Refusal]:
    """Read the answer to a batch: one result for each key, in the order of the keys."""
    results = {result.optional_integer("index"): result for result in members.objects("results")}
    if results.keys() != set(range(len(keys))):
        raise Unreadable("The results are not those of the events that were sent.")
    return [_read_result(results[index], key) for index, key in enumerate(keys)]


def _read_result(members: Members, key: str) -> Receipt | Refusal:
    if members.text("outcome") in TAKEN:
        return Receipt.read(members, key)
    return Refusal.read(members, key)


def _price(members: Members) -> Price | None:
    price = members.optional_object("price")
    return None if price is None else Price.read(price)
