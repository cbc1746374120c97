"""Which time a page is about: whole hours, days of the person's zone, also where a day has 23 or 25 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from groat_server.http.dashboard.window import Window, WindowQuery

NOW = datetime(2026, 11, 22, 13, 20, tzinfo=UTC)
BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")


def window(zone: str = "UTC", now: datetime = NOW, /, **said: str) -> Window:
    return WindowQuery.model_validate(said).window(ZoneInfo(zone), now)


def test_nothing_said_is_the_last_thirty_days() -> None:
    found = window()
    assert (found.start, found.end) == (datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 11, 22, 14, tzinfo=UTC))
    assert (found.days, found.bucket, len(list(found.buckets()))) == (30, "day", 30)


def test_a_day_is_the_zones_and_told_by_hours() -> None:
    found = window("Europe/Berlin", days="1")
    assert found.start == datetime(2026, 11, 21, 23, tzinfo=UTC)
    assert (found.bucket, len(list(found.buckets()))) == ("hour", 15)


def test_a_day_of_a_half_hour_zone_begins_with_the_first_hour_that_begins_in_it() -> None:
    assert window("Asia/Kolkata", days="1").start == datetime(2026, 11, 21, 19, tzinfo=UTC)


def test_what_is_said_counts_up_to_now() -> None:
    found = window(**{"from": "2026-11-20T10:30:00Z", "to": "2027-01-01T00:00:00Z"})
    assert (found.start, found.end) == (datetime(2026, 11, 20, 11, tzinfo=UTC), datetime(2026, 11, 22, 14, tzinfo=UTC))
    assert found.days is None


def test_a_window_that_ends_before_it_begins_is_empty() -> None:
    found = window(**{"from": "2026-11-20T10:00:00Z", "to": "2026-11-19T10:00:00Z"})
    assert list(found.buckets()) == []


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 11, 1), 24)])
def test_every_hour_of_a_day_has_a_bar(day: date, hours: int) -> None:
    start, end = (datetime.combine(each, time(), BERLIN) for each in (day, day + timedelta(days=1)))
    bars = list(Window(start.astimezone(UTC), end.astimezone(UTC), BERLIN, None).buckets())
    assert len(bars) == len({Window(start, end, BERLIN, None).key(at) for at, _ in bars}) == hours


def test_days_follow_on_each_other_over_the_change_of_time() -> None:
    found = window("Europe/Berlin", datetime(2026, 3, 31, 12, tzinfo=UTC), days="7")
    bars = list(found.buckets())
    assert all(before[1] == after[0] for before, after in pairwise(bars))
    assert [f"{at.astimezone(BERLIN):%d %H}" for at, _ in bars[-4:]] == ["28 00", "29 00", "30 00", "31 00"]


def test_an_hour_belongs_to_the_day_that_it_begins_in() -> None:
    found = window("Asia/Kolkata", days="7")
    assert found.key(datetime(2026, 11, 20, 18, tzinfo=UTC)) == datetime(2026, 11, 20, tzinfo=KOLKATA).date()
    assert found.key(datetime(2026, 11, 20, 19, tzinfo=UTC)) == datetime(2026, 11, 21, tzinfo=KOLKATA).date()
