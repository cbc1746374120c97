"""A model of the ledger in plain Python, written from the product's rules, not from its SQL. No database, no clock."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST_PERIOD_DAYS = 28


def boundary(anchor: datetime, zone: str, n: int) -> datetime:
    """Return the instant n months after `anchor` on the wall clock of `zone`, in UTC.

    Counted from the anchor, clamped to the month's end. RFC 5545: a wall time that is skipped has the offset before the
    change, one that comes twice is its first; that is what `fold=0` means.
    """
    wall = anchor.astimezone(ZoneInfo(zone))
    months = wall.year * 12 + wall.month - 1 + n
    year, month = divmod(months, 12)
    day = min(wall.day, monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day, fold=0).astimezone(UTC)


def following_boundary(anchor: datetime, zone: str, start: datetime) -> datetime:
    """Return the first boundary that leaves a period of 28 days or more, counted on the calendar of `zone`."""

    def local_date(instant: datetime) -> date:
        return instant.astimezone(ZoneInfo(zone)).date()

    first = (start.year - anchor.year) * 12 + start.month - anchor.month - 2
    return next(
        ending
        for ending in (boundary(anchor, zone, n) for n in count(first))
        if ending > start and (local_date(ending) - local_date(start)).days >= SHORTEST_PERIOD_DAYS
    )


def period_start(anchor: datetime, zone: str, at: datetime) -> datetime:
    """Return the latest boundary that is not after `at`, the anchor's own where all are."""
    found = boundary(anchor, zone, 0)
    for n in count(1):
        later = boundary(anchor, zone, n)
        if later > at:
            return found
        found = later
    raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage:
    """A charge. Its content is all but the mode; `credits` None has no price, and then `refusal` says why."""

    user_id: int
    key: str
    credits: Decimal | None
    content: object
    enforce: bool = False
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a charge is answered. The version is the event's, None where nothing was booked now or earlier."""

    outcome: str
    credits: Decimal | None
    balance: Decimal | None
    version: int | None


Entry: TypeAlias = tuple[str, Decimal, datetime]


@dataclass(slots=True)
class Account:
    """One user's balance and what led to it. An entry is (kind, amount, booked at)."""

    balance: Decimal
    allowance: Decimal
    period_start: datetime
    next_reset_at: datetime
    last_booking: datetime
    month: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    version: int = 0
    granted: Decimal = Decimal(0)  # as allowance, in this period
    was_raised: bool = False
    entries: list[Entry] = field(default_factory=list)
    charges: dict[str, tuple[object, Answer]] = field(default_factory=dict)

    def book(self, kind: str, amount: Decimal, at: datetime) -> None:
        """Move the balance by one ledger entry."""
        self.balance += amount
        self.version += 1
        self.last_booking = max(self.last_booking, at)
        self.entries.append((kind, amount, at))
        if kind == "allowance":
            self.granted += amount

    def take(self, key: str, content: object, credits_: Decimal, at: datetime) -> Answer:
        """Book a charge."""
        self.balance -= credits_
        self.month += credits_
        self.total += credits_
        self.version += 1
        self.last_booking = at
        answer = Answer("recorded", credits_, self.balance, self.version)
        self.charges[key] = content, answer
        return answer


@dataclass(slots=True)
class ModelUser:
    """One user; `account` is None in demo mode."""

    anchor: datetime
    zone: str
    opening_allowance: Decimal
    account: Account | None = None

    def open(self, at: datetime) -> None:
        """Open the balance with the present period's allowance."""
        start = period_start(self.anchor, self.zone, at)
        ends = following_boundary(self.anchor, self.zone, start)
        self.account = Account(Decimal(0), self.opening_allowance, start, ends, at)
        if self.opening_allowance:
            self.account.book("allowance", self.opening_allowance, at)

    def close(self) -> None:
        """Enter demo mode: the balance goes."""
        self.account = None

    def has_history(self) -> bool:
        """Whether there is more than a first allowance, which came with its period, or another one is to come."""
        if self.account is None:
            return False
        return (
            bool(self.account.charges)
            or len(self.account.entries) > 1
            or self.account.was_raised
            or self.account.allowance != self.opening_allowance
        )

    def roll(self, instant: datetime) -> None:
        """Carry out each reset that is due: what is unused expires, the allowance comes, debt stays."""
        account = self.account
        while account is not None and account.next_reset_at <= instant:
            at = account.next_reset_at
            account.granted = Decimal(0)
            if account.balance > 0:
                account.book("expiry", -account.balance, at)
            if account.allowance:
                account.book("allowance", account.allowance, at)
            account.month = Decimal(0)
            account.last_booking = max(account.last_booking, at)
            account.period_start, account.next_reset_at = at, following_boundary(self.anchor, self.zone, at)


@dataclass(slots=True)
class ModelLedger:
    """The whole ledger."""

    users: dict[int, ModelUser] = field(default_factory=dict)

    def charge(self, usages: Sequence[ModelUsage], at: datetime) -> list[Answer]:
        """Charge a batch: one instant, not before any of its users' last booking; in order; each key once."""
        touched = [self.users[usage.user_id] for usage in usages if usage.user_id in self.users]
        instant = max([at, *(user.account.last_booking for user in touched if user.account)])
        for user in touched:
            user.roll(instant)
        return [self._charge(usage, instant) for usage in usages]

    def _charge(self, usage: ModelUsage, instant: datetime) -> Answer:  # noqa: PLR0911 - one for each outcome
        if usage.user_id not in self.users:
            return Answer("unknown_user", None, None, None)
        account = self.users[usage.user_id].account
        if account is None:
            return Answer("untracked", None, None, None)
        if usage.key in account.charges:
            content, answer = account.charges[usage.key]
            if content == usage.content:
                return Answer("replayed", answer.credits, answer.balance, answer.version)
            return Answer("idempotency_conflict", None, account.balance, None)
        if usage.credits is None:
            return Answer(usage.refusal or "", None, account.balance, None)
        if usage.enforce and usage.credits > 0 and usage.credits > account.balance:
            return Answer("insufficient_credits", None, account.balance, None)
        return account.take(usage.key, usage.content, usage.credits, instant)

    def sweep(self, at: datetime) -> None:
        """Carry out what is due, for everybody."""
        for user in self.users.values():
            user.roll(at)

    def settle(self, user_id: int, at: datetime) -> datetime | None:
        """Carry out what is due for one user and return the instant, None where there is no balance."""
        user = self.users[user_id]
        if user.account is None:
            return None
        instant = max(at, user.account.last_booking)
        user.roll(instant)
        return instant

    def set_allowance(self, user_id: int, allowance: Decimal, at: datetime, *, now: bool) -> bool:
        """Change the allowance from the next period on; `now` grants what is missing of it in this one."""
        instant, account = self.settle(user_id, at), self.users[user_id].account
        if instant is None or account is None:
            return False
        account.allowance = allowance
        if now and allowance > account.granted:
            account.book("allowance", allowance - account.granted, instant)
            account.was_raised = True
        return True
