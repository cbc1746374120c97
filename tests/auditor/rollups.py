"""The roll-ups, added up again event by event."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date

    from tests.auditor.books import Books, Row

Figures: TypeAlias = tuple[Decimal, ...]
Key = TypeVar("Key")
UserDay: TypeAlias = "tuple[int, date]"


def rollup_faults(books: Books) -> Iterator[str]:
    """Yield where a roll-up is not the sum of its events."""
    refunded: defaultdict[tuple[int, int], Decimal] = defaultdict(Decimal)
    for entry in books.all("entries"):
        if entry["kind"] == "refund":
            refunded[entry["user_id"], entry["event_id"]] += entry["amount"]
    hours: defaultdict[object, Figures] = defaultdict(lambda: (Decimal(0),) * 4)
    days: defaultdict[object, Figures] = defaultdict(lambda: (Decimal(0),) * 4)
    users: defaultdict[UserDay, Figures] = defaultdict(lambda: (Decimal(0),) * 4)
    last: dict[UserDay, datetime] = {}
    for event in books.all("events"):
        at = event["created_at"].astimezone(UTC)
        use = (event["action_type"], event["model_used"])
        figures = (
            Decimal(1),
            event["credits_charged"],
            event["api_cost"] or Decimal(0),
            refunded[event["user_id"], event["id"]],
        )
        hour, user_day = (at.replace(minute=0, second=0, microsecond=0), *use), (event["user_id"], at.date())
        hours[hour] = _added(hours[hour], figures)
        days[at.date(), *use] = _added(days[at.date(), *use], figures)
        users[user_day] = _added(users[user_day], figures)
        last[user_day] = max(at, last.get(user_day, at))
    yield from _differences("hour", _summed(books.usage_hourly, "hour"), hours)
    yield from _differences("day", _summed(books.usage_daily, "day"), days)
    yield from _user_faults(books, users, last)


def _user_faults(books: Books, users: Mapping[UserDay, Figures], last: Mapping[UserDay, datetime]) -> Iterator[str]:
    rolled: dict[UserDay, Figures] = {}
    last_rolled: dict[UserDay, datetime] = {}
    for row in books.all("days"):
        rolled[row["user_id"], row["day"]] = (row["events"], row["credits"], row["api_cost"])
        last_rolled[row["user_id"], row["day"]] = row["last_at"]
        if row["actions"] is not None:
            yield from _action_faults(books, row)
    newest: dict[int, date] = {}
    for user_id, day in users:
        newest[user_id] = max(day, newest.get(user_id, day))
    for user_id, balance in books.balances.items():
        key = (user_id, balance["open_day"])
        if balance["open_day"] != newest.get(user_id):
            yield f"user {user_id} has {balance['open_day']} open, and events until {newest.get(user_id)}"
        if key in rolled:
            yield f"user {user_id} has {balance['open_day']} open and closed"
        if balance["open_day"] is not None:
            rolled[key] = (balance["open_events"], balance["open_credits"], balance["open_api_cost"])
            last_rolled[key] = balance["last_event_at"]
            yield from _bound_faults(user_id, balance, books.of_users[user_id].get("days", []))
    yield from _differences("day of a user", rolled, {key: figures[:3] for key, figures in users.items()})
    for key in last.keys() & last_rolled.keys():
        if last[key] != last_rolled[key]:
            yield f"the last event of {key} is {last[key]}, and {last_rolled[key]} in the roll-up"
    yield from _count_faults(books, users)


def _count_faults(books: Books, users: Iterable[UserDay]) -> Iterator[str]:
    unique = Counter(day for _, day in users)
    counted: Counter[date] = Counter()
    for row in books.usage_daily_users:
        counted[row["day"]] += row["users"]
    if +counted != unique or any(count < 0 for count in counted.values()):
        yield f"the days have {dict(counted)} users, and their events {dict(unique)}"


def _bound_faults(user_id: int, balance: Row, days: Iterable[Row]) -> Iterator[str]:
    month = balance["closed_month"]
    before = (month.year - (month.month == 1), (month.month - 2) % 12 + 1)
    of_month, of_before = Decimal(0), Decimal(0)
    for row in days:
        if (row["day"].year, row["day"].month) == (month.year, month.month):
            of_month += row["credits"]
        if (row["day"].year, row["day"].month) == before:
            of_before += row["credits"]
        if row["day"] > month.replace(day=28) and row["day"].month != month.month:
            yield f"user {user_id} has a day after {month}, which is the last month"
    if balance["closed_month_credits"] < of_month or balance["closed_previous_credits"] < of_before:
        yield f"the bounds of user {user_id} are below the credits of {month} or the month before"


def _action_faults(books: Books, row: Row) -> Iterator[str]:
    sums: defaultdict[str, Figures] = defaultdict(lambda: (Decimal(0),) * 3)
    for event in books.of_users[row["user_id"]].get("events", []):
        if event["created_at"].astimezone(UTC).date() == row["day"]:
            figures = (Decimal(1), event["credits_charged"], event["api_cost"] or Decimal(0))
            sums[event["action_type"]] = _added(sums[event["action_type"]], figures)
    actions = json.loads(row["actions"], parse_float=Decimal, parse_int=Decimal)
    rolled = {action: tuple(found) for action, found in actions["day"].items()}
    yield from _differences(f"action of user {row['user_id']} on {row['day']}", rolled, sums)


def _summed(rows: Iterable[Row], bucket: str) -> dict[object, Figures]:
    sums: defaultdict[object, Figures] = defaultdict(lambda: (Decimal(0),) * 4)
    for row in rows:
        start = row[bucket].astimezone(UTC) if isinstance(row[bucket], datetime) else row[bucket]
        key = (start, row["action_type"], row["model_used"])
        sums[key] = _added(sums[key], (row["events"], row["credits"], row["api_cost"], row["refunded"]))
    return {key: figures for key, figures in sums.items() if any(figures)}


def _added(left: Figures, right: Figures) -> Figures:
    return tuple(one + other for one, other in zip(left, right, strict=True))


def _differences(name: str, rolled: Mapping[Key, Figures], events: Mapping[Key, Figures]) -> Iterator[str]:
    for key in rolled.keys() | events.keys():
        if rolled.get(key) != events.get(key):
            yield f"{name} {key} has {rolled.get(key)} in the roll-up, and {events.get(key)} in the events"
