"""What `groat top` knows: who used how much in which minute, put together from what each look at the ledger brings."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from heapq import nlargest
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from groat_server.core.feed_rows import ActiveUser

Order = Literal["credits", "today", "balance", "seen", "email"]
ORDERS: Sequence[Order] = get_args(Order)

EVENTS_MAX = 100_000
"""Events that one look reads at most."""

MINUTES = 12
USERS_MAX = 2_000
_MINUTE = 60
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(slots=True)
class Line:
    """One user, as of the last look. `minutes` has credits by minute (seconds since 1970)."""

    user_id: int
    email: str = ""
    balance: Decimal = Decimal(0)
    credits_now: Decimal = Decimal(0)
    events_now: int = 0
    credits_today: Decimal = Decimal(0)
    last_action: str | None = None
    last_model: str | None = None
    last_seen: datetime | None = None
    minutes: dict[int, Decimal] = field(default_factory=dict)

    @property
    def seen(self) -> float:
        """When this user was last seen; 0: never."""
        return self.last_seen.timestamp() if self.last_seen else 0.0


_KEYS: Mapping[Order, Callable[[Line], tuple[Decimal | float | str, ...]]] = {
    "credits": lambda line: (-line.credits_now, -sum(line.minutes.values()), -line.seen),
    "today": lambda line: (-line.credits_today, -line.seen),
    "balance": lambda line: (line.balance, -line.seen),
    "seen": lambda line: (-line.seen,),
    "email": lambda line: (line.email,),
}


@dataclass(slots=True)
class Totals:
    """What all users did in the last 60 seconds. Where `is_whole` is false, it was at least so much."""

    credits: Decimal
    events: int
    users: int
    is_whole: bool


class Board:
    """The users of the live view."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._is_whole = True
        self.looked_at: datetime | None = None

    @property
    def since(self) -> int | None:
        """The minute from which the next look has to read: the one before the last look's. None: there was none."""
        return None if self.looked_at is None else _minute(self.looked_at) - _MINUTE

    @property
    def known(self) -> list[int]:
        """The ids of those who are on the board."""
        return list(self._lines)

    @property
    def totals(self) -> Totals:
        """What all did in the last 60 seconds."""
        lines = self._lines.values()
        return Totals(
            sum((line.credits_now for line in lines), Decimal(0)),
            sum(line.events_now for line in lines),
            sum(line.events_now > 0 for line in lines),
            self._is_whole,
        )

    def take(self, rows: Sequence[ActiveUser]) -> None:
        """Take what a look has brought, which read from `since` on."""
        if not rows:
            return
        since, self.looked_at = self.since, rows[0].looked_at
        is_first = since is None
        self._is_whole = is_first or rows[0].is_whole
        # Of the oldest minute that a first look came to, it may have seen but a part.
        cut = min((row.minutes[0] for row in rows if row.minutes), default=0) if not rows[0].is_whole else None
        oldest = _minute(self.looked_at) - (MINUTES - 1) * _MINUTE
        for row in rows:
            line = self._lines.setdefault(row.user_id, Line(row.user_id))
            line.email, line.balance, line.last_seen = row.email, row.balance, row.last_seen
            line.credits_now, line.events_now, line.credits_today = row.credits_now, row.events_now, row.credits_today
            line.last_action = row.last_action or line.last_action
            line.last_model = row.last_model if row.last_action else line.last_model
            kept = {minute: used for minute, used in line.minutes.items() if since is None or oldest <= minute < since}
            read = zip(row.minutes, row.credits, strict=True)
            line.minutes = kept | {minute: used for minute, used in read if minute >= oldest and minute != cut}
        if len(self._lines) > USERS_MAX:
            newest = nlargest(USERS_MAX, self._lines.values(), key=lambda line: line.seen)
            self._lines = {line.user_id: line for line in newest}

    def lines(self, order: Order, search: str = "") -> list[Line]:
        """Return the users whose e-mail address has `search` in it, in an order."""
        sought = search.casefold()
        found = [line for line in self._lines.values() if sought in line.email.casefold()]
        return sorted(found, key=lambda line: (*_KEYS[order](line), line.user_id))

    def spark(self, line: Line, minutes: int = MINUTES) -> str:
        """Draw a user's last minutes, each as a bar; the highest is that of the user's busiest one."""
        if self.looked_at is None:
            return ""
        last = _minute(self.looked_at)
        used = [line.minutes.get(last - back * _MINUTE, Decimal(0)) for back in reversed(range(minutes))]
        most = max(used)
        if most == 0:
            return " " * minutes
        # Any use at all is seen.
        return "".join(_BARS[max(1, round(each / most * 8)) if each else 0] for each in used)


def _minute(instant: datetime) -> int:
    return int(instant.timestamp()) // _MINUTE * _MINUTE
