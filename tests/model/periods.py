"""Where periods begin and end."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime
from itertools import count
from zoneinfo import ZoneInfo

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
