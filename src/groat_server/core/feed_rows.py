"""What the live feed carries: one frozen dataclass a row, field by column name. Amounts are credits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

USAGE = "usage"
"""The kind of a charge; the other kinds are acts of the audit log: grant, adjustment, refund, void."""


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """Something that was booked. `id` is the event's or, of an act, the audit log's; ids are unique within `is_act`.

    Of a charge, `credits` is what it took, and `actor` is null; of an act, what it gave (below zero: what it took), and
    all that only a charge has is null. `event_id` is the charge itself, or the one that an act gives back.
    """

    kind: str
    id: int
    recorded_at: datetime
    timestamp: datetime
    user_id: int | None
    email: str | None
    action_type: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    quantity: Decimal | None
    credits: Decimal | None
    balance_after: Decimal | None
    event_id: int | None
    actor: str | None

    @property
    def is_act(self) -> bool:
        """Whether it is an act of administration."""
        return self.kind != USAGE

    @property
    def key(self) -> tuple[bool, int]:
        """What tells it from all others."""
        return self.is_act, self.id


@dataclass(frozen=True, slots=True)
class BookedEvent(FeedEvent):
    """One that was not seen before, with the instant of the look at which it was found, and how many it found."""

    looked_at: datetime
    found: int


@dataclass(frozen=True, slots=True)
class Look:
    """When the ledger was looked at, by its server's clock."""

    looked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedFilter:
    """Which events are wanted; None: whichever. An act has neither action type nor model."""

    user_id: int | None = None
    action_type: str | None = None
    model: str | None = None
    credits_least: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        """Whether all are wanted."""
        return self == FeedFilter()

    def wants(self, event: FeedEvent) -> bool:
        """Tell whether an event is wanted."""
        return (
            (self.user_id is None or event.user_id == self.user_id)
            and (self.action_type is None or event.action_type == self.action_type)
            and (self.model is None or event.model == self.model)
            and (self.credits_least is None or (event.credits is not None and abs(event.credits) >= self.credits_least))
        )


@dataclass(frozen=True, slots=True)
class ActiveUser:
    """A user in the live view, as of `looked_at`.

    `minutes` are the minutes that were asked for and had usage (seconds since 1970), `credits` and `events` what was
    used in each; `credits_now` and `events_now` are of the last 60 seconds. `is_whole` is whether all was read that was
    asked for.
    """

    user_id: int
    email: str
    balance: Decimal
    credits_today: Decimal
    last_seen: datetime | None
    last_action: str | None
    last_model: str | None
    credits_now: Decimal
    events_now: int
    minutes: list[int]
    credits: list[Decimal]
    events: list[int]
    looked_at: datetime
    is_whole: bool
