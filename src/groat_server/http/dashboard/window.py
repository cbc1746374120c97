"""Which time a page is about: so many days up to now, or from one instant to another; in hours or in days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from groat_server.http import types
from groat_server.http.admin_reports import QueriedUser
from groat_server.http.dashboard.view import PageQuery

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

DAYS = 30
_HOUR = timedelta(hours=1)
_BY_HOUR_UP_TO = timedelta(hours=49)  # two days, one of which may have 25 hours


class WindowQuery(PageQuery):
    """A window, and what of it: `days` up to now, today included, or from `from` until before `to`."""

    days: types.DayCount | None = None
    start: Annotated[types.Instant | None, Field(alias="from")] = None
    end: Annotated[types.Instant | None, Field(alias="to")] = None
    action_type: types.ActionType | None = None
    model: types.Model | None = None
    user: QueriedUser | None = None

    def window(self, zone: ZoneInfo, now: datetime) -> Window:
        """Return the window that is asked for; nothing said: the last DAYS days."""
        end = min(self.end or now, now)
        days = None if self.start is not None else self.days or DAYS
        start = self.start or _midnight(now.astimezone(zone) - timedelta(days=(days or 1) - 1), zone)
        return Window(_whole_hour(start), max(_whole_hour(end), _whole_hour(start)), zone, days)


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` until before `end`, whole hours in UTC; `days`: how it was asked for, where it was so."""

    start: datetime
    end: datetime
    zone: ZoneInfo
    days: int | None

    @property
    def bucket(self) -> Literal["hour", "day"]:
        """What a bar is of."""
        return "hour" if self.end - self.start <= _BY_HOUR_UP_TO else "day"

    @property
    def previous(self) -> Window:
        """The window of equal length before."""
        return replace(self, start=self.start - (self.end - self.start), end=self.start)

    def buckets(self) -> Iterator[tuple[datetime, datetime]]:
        """Yield the beginning and the end of each bar, empty ones too; days are the zone's."""
        at = self.start
        while at < self.end:
            following = at + _HOUR if self.bucket == "hour" else self._next_day(at)
            yield at, following
            at = following

    def _next_day(self, at: datetime) -> datetime:
        return _midnight(at.astimezone(self.zone) + timedelta(days=1), self.zone).astimezone(UTC)

    def key(self, at: datetime) -> datetime | date:
        """Return what tells the bar that an instant belongs to: its hour, or its day in the zone."""
        return at.astimezone(UTC) if self.bucket == "hour" else at.astimezone(self.zone).date()


def _whole_hour(time: datetime) -> datetime:
    """Return the first hour that begins at this instant or after it: an hour belongs to the day that it begins in."""
    hour = time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return hour if hour == time else hour + _HOUR


def _midnight(local: datetime, zone: ZoneInfo) -> datetime:
    return datetime(local.year, local.month, local.day, tzinfo=zone)
