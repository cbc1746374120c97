"""Whatever happened, and whatever the window: what the roll-ups answer is what the events do, to the digit."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from groat_server.operations.checks import CHECKS
from groat_server.operations.reports import REPORTS
from groat_server.sql import source
from tests.conftest import fresh_ledger
from tests.operations.account import BIRTH, TICK, SqlAccount
from tests.operations.ledgers import connect
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

    from groat_server.database import Address
    from groat_server.embedded import Server

BACK = {"days", "as_of", "limit", "user"}
ROLLED_UP = [
    name for name, report in REPORTS.items() if report.rolled_up and {each.name for each in report.parameters} <= BACK
]
"""Those whose windows are counted back; test_usage_reports has the others."""
ROLLUP_CHECKS = [name for name in CHECKS if name.startswith("rollups")]
MANY = 200
"""Events of a user's day from which the sweep adds up its actions."""

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


def answer(connection: psycopg.Connection[Any], text: str, values: Mapping[str, object]) -> list[str]:
    """Run a report's statement; returns its rows as texts, in which 1 is not 1.0."""
    statement = _PARAMETER.sub(r"%(\1)s", re.sub(r"--[^\n]*", "", text).replace("%", "%%"))
    with connection.cursor() as cursor:
        cursor.execute(statement.encode(), values)
        names = [column.name for column in cursor.description or ()]
        return [str(sorted(zip(names, map(repr, row), strict=True))) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Window:
    """What reports are asked for."""

    days: int
    as_of: datetime
    limit: int = 3


def compare(
    connection: psycopg.Connection[Any], window: Window, users: Sequence[int], names: Sequence[str] = ROLLED_UP
) -> None:
    """Ask each report that has roll-ups, of the events and of the roll-ups."""
    for name in names:
        report = REPORTS[name]
        assert report.rolled_up is not None
        for user_id in users if any(each.name == "user" for each in report.parameters) else [0]:
            values = {"days": window.days, "as_of": window.as_of, "limit": window.limit, "user_id": user_id}
            published = answer(connection, report.statement.source, values)
            assert answer(connection, report.rolled_up.source, values) == published, (name, window, user_id)


def check(connection: psycopg.Connection[Any]) -> list[Any]:
    """Return what the checks of roll-ups find."""
    return [row for name in ROLLUP_CHECKS for row in connection.execute(source(f"checks/{name}")).fetchall()]


class Story:
    """A ledger of a few users, a present that goes on, and what may happen in it."""

    def __init__(self, connection: psycopg.Connection[Any], users: int = 3) -> None:
        self.connection = connection
        self.users = [SqlAccount.open(connection, 0) for _ in range(users)]
        self.at = BIRTH
        self.events: list[tuple[SqlAccount, int]] = []
        self._number = 0

    def key(self) -> str:
        """Return a key that was not there before."""
        self._number += 1
        return f"key {self._number}"

    def wait(self, time: timedelta | str) -> None:
        """Let time pass: so much, or until an hour, a day or a month begins."""
        self.at = next_turn(self.at, time) if isinstance(time, str) else self.at + time

    def charge(self, user: int, uses: Sequence[Use], *, settled: bool = False) -> None:
        """Charge one user's uses in one batch."""
        account = self.users[user]
        charges = [
            RawCharge(
                user_ids=account.user_id, keys=self.key(), credits=use.credits, actions=use.action, models=use.model,
                costs=use.cost, occurred=None if use.occurred is None else str(use.when(self.at)), backfills=True,
            )
            for use in uses
        ]  # fmt: skip
        for answer in account.rows(call(charges, at=self.at, columns="*", settled=settled)):
            assert answer["outcome"] == "recorded"
            self.events.append((account, answer["event_id"]))

    def charge_beside(self, number: int, use: Use, apart: timedelta) -> None:
        """Charge a use that was a little before or after one of the events, and the same user's."""
        if self.events:
            account, event = self.events[number % len(self.events)]
            for row in account.rows("SELECT created_at FROM credit_usage_events WHERE id = %s", event):
                occurred = min(row["created_at"] + apart - self.at, timedelta(0))
                self.charge(self.users.index(account), [replace(use, occurred=occurred)])

    def refund(self, number: int, amount: str | None) -> None:
        """Refund one of the events, in part or in full."""
        if self.events:
            account, event = self.events[number % len(self.events)]
            account.refund(self.key(), event, amount, self.at)

    def void(self, number: int) -> None:
        """Void one of the events."""
        if self.events:
            account, event = self.events[number % len(self.events)]
            account.void(self.key(), event, self.at)

    def void_day(self, user: int) -> None:
        """Void all events of a user's newest day."""
        account = self.users[user]
        for row in account.rows(
            "SELECT id FROM credit_usage_events WHERE user_id = %s AND date_trunc('day', created_at, 'UTC') ="
            " (SELECT date_trunc('day', max(created_at), 'UTC') FROM credit_usage_events WHERE user_id = %s) LIMIT 5",
            account.user_id,
            account.user_id,
        ):
            account.void(self.key(), row["id"], self.at)

    def burst(self, user: int, back: int, *, is_swept: bool) -> None:
        """Charge so many uses within one day that its actions are worth adding up; the sweep may come by."""
        start = next_turn(self.at - timedelta(days=back + 1), "day")
        uses = [
            Use("0.25", ("chat", "image")[number % 2], None, "0.01", (start + number * timedelta(minutes=7)) - self.at)
            for number in range(MANY)
        ]
        self.charge(user, uses)
        if is_swept:
            self.connection.execute("SELECT add_up_actions(5)")


def next_turn(at: datetime, unit: str) -> datetime:
    """Return when the next hour, day or month begins."""
    start = at.replace(minute=0, second=0, microsecond=0)
    if unit == "hour":
        return start + timedelta(hours=1)
    start = start.replace(hour=0)
    if unit == "day":
        return start + timedelta(days=1)
    return (start.replace(day=1) + timedelta(days=32)).replace(day=1)


@dataclass(frozen=True, slots=True)
class Use:
    """One use: `occurred` is how long before the present, or None for the instant of the charge."""

    credits: str
    action: str
    model: str | None
    cost: str | None
    occurred: timedelta | str | None = None

    def when(self, at: datetime) -> datetime:
        """Return when it happened; "day": exactly when the present day, or another unit, began."""
        if isinstance(self.occurred, str):
            turn = next_turn(at - timedelta(days=32 if self.occurred == "month" else 1), self.occurred)
            return min(turn, at)
        return at + (self.occurred or timedelta(0))


TIMES = st.sampled_from([timedelta(0), TICK, timedelta(minutes=13), timedelta(hours=7), timedelta(days=1)])
UNITS = st.sampled_from(["hour", "day", "month"])
USERS = st.integers(0, 2)
USES = st.builds(
    Use,
    credits=st.sampled_from(["0", "0.000000000001", "0.3", "1", "1.5", "12345678.9"]),
    action=st.sampled_from(["chat", "image", "search", "agent"]),
    model=st.sampled_from([None, "lamp", "torch"]),
    cost=st.sampled_from([None, "0", "0.03", "0.000000000007"]),
    occurred=st.none()
    | UNITS
    | st.timedeltas(min_value=timedelta(days=-34), max_value=timedelta(0))
    | st.timedeltas(min_value=timedelta(days=-90), max_value=timedelta(days=-34)),
)
STEPS = st.one_of(
    st.builds(lambda time: lambda story: story.wait(time), TIMES | UNITS | st.timedeltas(timedelta(0), timedelta(30))),
    st.builds(
        lambda user, uses, settled: lambda story: story.charge(user, uses, settled=settled),
        USERS, st.lists(USES, min_size=1, max_size=4), st.booleans(),
    ),
    st.builds(lambda user, use: lambda story: story.charge(user, [use]), USERS, USES),
    st.builds(
        lambda number, amount: lambda story: story.refund(number, amount),
        st.integers(0, 999), st.sampled_from([None, "0.1", "0.000000000001"]),
    ),
    st.builds(
        lambda number, use, minutes: lambda story: story.charge_beside(number, use, timedelta(minutes=minutes)),
        st.integers(0, 999), USES, st.integers(-90, 90),
    ),
    st.builds(lambda number: lambda story: story.void(number), st.integers(0, 999)),
    st.builds(lambda user: lambda story: story.void_day(user), USERS),
    st.builds(
        lambda user, back, is_swept: lambda story: story.burst(user, back, is_swept=is_swept),
        USERS, st.integers(1, 3), st.booleans(),
    ),
)  # fmt: skip
SHIFTS = st.sampled_from([-TICK, timedelta(0), TICK, timedelta(minutes=-20), timedelta(hours=5)])
# Instants by which windows may begin: of refunded events, of days that were added up, and of others.
_TIMES = """
    (SELECT event.created_at FROM credit_usage_events AS event
        JOIN credit_ledger_entries AS refund ON refund.user_id = event.user_id AND refund.event_id = event.id LIMIT 4)
    UNION ALL
    (SELECT event.created_at FROM credit_usage_events AS event
        JOIN user_daily AS daily ON daily.user_id = event.user_id AND daily.actions IS NOT NULL
            AND daily.day = (event.created_at AT TIME ZONE 'UTC')::date LIMIT 4 OFFSET 30)
    UNION ALL
    (SELECT created_at FROM credit_usage_events LIMIT 8)
"""


@pytest.fixture(scope="module")
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger in which nothing stays: each story is rolled back."""
    with fresh_ledger(server, template) as address:
        yield address


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data(), steps=st.lists(STEPS, min_size=1, max_size=14))
def test_roll_ups_answer_what_the_events_do(
    address: Address, data: st.DataObject, steps: Sequence[Callable[[Story], None]]
) -> None:
    """Windows begin anywhere, and most often at or beside an event, an hour or a day.

    Taken out, each noticed: in usage_since the events of the first hour, the hours of the first day, the refunds of the
    first hour; the flush of the open day, the reset of `actions`, `last_at` of late events; users' counts in a void.
    """
    with connect(address) as connection, connection.transaction(force_rollback=True):
        story = Story(connection)
        for step in steps:
            step(story)
        assert check(connection) == []
        times = [row[0] for row in connection.execute(_TIMES).fetchall()]
        windows = [Window(30, max(times, default=story.at) + timedelta(days=30))]
        for _ in range(4):
            near = data.draw(st.sampled_from([*times, story.at, BIRTH]), label="near")
            near = data.draw(st.sampled_from([near, next_turn(near, "hour"), next_turn(near, "day")]), label="turn")
            days = data.draw(st.sampled_from([1, 2, 7, 28, 29, 30, 31, 60, 366]), label="days")
            shift = data.draw(SHIFTS, label="shift")
            limit = data.draw(st.sampled_from([1, 2, 3, 500]), label="limit")
            windows.append(Window(days, near + timedelta(days=data.draw(st.sampled_from([0, days]))) + shift, limit))
        users = [account.user_id for account in story.users]
        for window in windows:
            compare(connection, window, users)
        connection.execute("SELECT rebuild_rollups()")
        assert check(connection) == []
        compare(connection, windows[-1], users)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    users=st.lists(
        st.tuples(
            st.integers(-80, -12), st.sampled_from(["0", "1", "5", "40"]),
            st.integers(-11, 0), st.sampled_from(["0", "1", "2", "3"]),
        ),
        min_size=6, max_size=15,
    ),
    windows=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 14) | st.integers(20, 90), st.integers(1, 2)),
        min_size=6, max_size=6,
    ),
    voids=st.lists(st.integers(0, 99), max_size=5),
)  # fmt: skip
def test_who_consumed_most_is_found_among_the_highest_bounds(
    address: Address,
    users: Sequence[tuple[int, str, int, str]],
    windows: Sequence[tuple[int, int, int]],
    voids: Sequence[int],
) -> None:
    """Users who consumed much before the window have high bounds and stand in front of those who did within.

    Taken out, each noticed: the month before in a bound; the second round; its ties; the place of a tie's user.
    """
    with connect(address) as connection, connection.transaction(force_rollback=True):
        story = Story(connection, len(users))
        story.wait(timedelta(days=100))
        for user, (early, credits_early, late, credits_late) in enumerate(users):
            for day, credits_ in ((early, credits_early), (late, credits_late)):
                story.charge(user, [Use(credits_, "chat", None, None, timedelta(days=day, minutes=-user))])
        for number in voids:
            story.void(number)
        for back, days, limit in windows:
            compare(connection, Window(days, story.at - timedelta(days=back), limit), [], ["top-consumers"])


def test_of_two_who_consumed_as_much_the_first_user_is_found_though_others_have_higher_bounds(address: Address) -> None:
    """Taken out, each noticed: the users in the comparison of ties; the equality in the second round."""
    with connect(address) as connection, connection.transaction(force_rollback=True):
        story = Story(connection, 4)
        story.wait("month")
        story.wait(timedelta(days=9))
        story.charge(0, [Use("5", "chat", None, None)])
        for user in range(1, 4):
            story.charge(user, [Use("95", "chat", None, None, timedelta(days=-5)), Use("5", "chat", None, None)])
        compare(connection, Window(2, story.at, 1), [], ["top-consumers"])


def test_bounds_hold_where_a_void_opened_a_day_of_an_earlier_month_again(address: Address) -> None:
    """Taken out: the sums of months in take_usage; the next charge of the earlier month then began its sum anew."""
    with connect(address) as connection, connection.transaction(force_rollback=True):
        story = Story(connection, 1)
        story.wait("month")
        story.wait(timedelta(days=3))
        for days in (-8, -6, 0):
            story.charge(0, [Use("50", "chat", None, None, timedelta(days=days))])
        story.void(2)
        story.charge(0, [Use("1", "chat", None, None, timedelta(days=-4))])
        assert check(connection) == []


def test_a_day_that_is_over_and_added_up_takes_late_events_and_loses_voided_ones(address: Address) -> None:
    """Taken out, each noticed: `last_at` and the reset of `actions` of a late event; the reset of a void."""
    with connect(address) as connection, connection.transaction(force_rollback=True):
        story = Story(connection, 1)
        story.wait(timedelta(days=4))
        story.charge(0, [Use("1", "chat", None, None)])
        story.burst(0, 2, is_swept=True)
        story.charge_beside(len(story.events) - 1, Use("3", "chat", None, None), timedelta(minutes=11))
        assert check(connection) == []
        connection.execute("SELECT add_up_actions(5)")
        story.void(len(story.events) - 2)
        assert check(connection) == []
        compare(connection, Window(1, story.at - timedelta(days=1, hours=3)), [story.users[0].user_id])
