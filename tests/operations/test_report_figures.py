"""Reports of a history so small that it can be reckoned by hand: figures, orders, windows, and whose rows they are."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.operations.reports import run_report
from tests.operations.account import TICK, SqlAccount, day
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

NOW = day(31)
"""Thirty days after the oldest use."""


@pytest.fixture
def accounts(ledger: Ledger) -> Iterator[tuple[SqlAccount, SqlAccount]]:
    """Lend two accounts: the first used 1, 5 and 2 credits for two actions, the second 3, and 7 before the window."""
    with connect(ledger.database.address) as connection:
        one, other = SqlAccount.open(connection, email="one@example.com"), SqlAccount.open(connection)
        other.charge("old", 7, day(1), occurred=str(day(1)))
        one.charge("a", 1, day(2), occurred=str(day(2)), actions="chat")
        one.charge("b", 5, day(4), occurred=str(day(4)))
        one.charge("c", 2, day(4), occurred=str(day(4) + TICK), actions="chat")
        other.charge("d", 3, day(5), occurred=str(day(5)))
        yield one, other


async def report(ledger: Ledger, name: str, *columns: str, **given: Any) -> list[tuple[Any, ...]]:
    """Run a report as of NOW; returns these columns of its rows."""
    return [tuple(getattr(row, column) for column in columns) for row in await run_report(ledger, name, **given)]


@pytest.mark.usefixtures("accounts")
async def test_the_window_begins_after_its_first_instant_and_users_are_counted_once(ledger: Ledger) -> None:
    columns = ("action_type", "event_count", "total_credits", "active_users")
    assert await report(ledger, "overview", *columns, days=30, as_of=NOW) == [
        (None, 4, 11, 2), ("unit", 2, 8, None), ("chat", 2, 3, None),
    ]  # fmt: skip
    assert (await report(ledger, "overview", *columns, days=30, as_of=NOW - TICK))[0] == (None, 5, 18, 2)
    assert await report(ledger, "usage-by-action", "action_type", "avg_per_event", days=30, as_of=NOW) == [
        ("unit", 4), ("chat", 1.5),
    ]  # fmt: skip
    found = await report(ledger, "cost-validation", "action_type", "expected_credits_from_api", days=30, as_of=NOW)
    assert found == [("chat", 3), ("unit", 8)]


async def test_what_models_came_to_and_what_named_none(ledger: Ledger, accounts: tuple[SqlAccount, SqlAccount]) -> None:
    accounts[0].charge("e", "0.5", day(6), occurred=str(day(6)), models="lamp")
    columns = ("model", "event_count", "total_credits", "total_api_cost_dollars", "avg_per_event")
    found = await report(ledger, "usage-by-model", *columns, days=30, as_of=NOW)
    assert [(*row[:2], *map(str, row[2:])) for row in found] == [
        (None, 4, "11", "1.1", "2.75"), ("lamp", 1, "0.5", "0.05", "0.5"),
    ]  # fmt: skip


@pytest.mark.usefixtures("accounts")
async def test_each_hour_is_a_row_with_or_without_use(ledger: Ledger) -> None:
    columns = ("hour", "events", "total_credits", "total_api_cost_dollars")
    found = await report(ledger, "usage-by-hour", *columns, days=1, as_of=day(5))
    assert [row[0] for row in found] == [day(4) + timedelta(hours=n) for n in range(25)]
    assert [row[1:] for row in found if row[1]] == [(1, 2, Decimal("0.2")), (1, 3, Decimal("0.3"))]


async def test_who_consumed_most_comes_first_with_the_share_of_all(
    ledger: Ledger, accounts: tuple[SqlAccount, SqlAccount]
) -> None:
    one, other = (account.user_id for account in accounts)
    columns = ("rank", "user_id", "events", "total_credits", "share_percent")
    found = await report(ledger, "top-consumers", *columns, days=30, as_of=NOW)
    assert [(*row[:-1], str(row[-1])) for row in found] == [(1, one, 3, 8, "72.73"), (2, other, 1, 3, "27.27")]
    assert await report(ledger, "top-consumers", *columns, days=30, as_of=NOW, limit=1) == found[:1]


@pytest.mark.usefixtures("accounts")
async def test_each_day_is_a_row_with_or_without_use(ledger: Ledger) -> None:
    found = await report(ledger, "daily-trend", "date", "events", "total_credits", "unique_users", days=4, as_of=day(6))
    assert [(row[0].day, *row[1:]) for row in found] == [
        (12, 0, 0, 0), (13, 0, 0, 0), (14, 2, 7, 1), (15, 1, 3, 1), (16, 0, 0, 0),
    ]  # fmt: skip


@pytest.mark.usefixtures("accounts")
async def test_unusual_is_what_costs_more_than_a_credit_and_recent_is_the_newest(ledger: Ledger) -> None:
    assert await report(ledger, "unusual-activity", "credits") == [(7,), (5,), (3,), (2,)]
    assert await report(ledger, "unusual-activity", "credits", limit=2) == [(7,), (5,)]
    assert await report(ledger, "recent-activity", "credits", limit=4) == [(3,), (2,), (5,), (1,)]


async def test_all_usage_events_are_those_of_the_window_newest_first(
    ledger: Ledger, accounts: tuple[SqlAccount, SqlAccount]
) -> None:
    one, other = (account.user_id for account in accounts)
    found = await report(ledger, "usage-events", "user_id", "credits", days=30, as_of=NOW)
    assert found == [(other, 3), (one, 2), (one, 5), (one, 1)]
    assert await report(ledger, "usage-events", "user_id", "credits", days=30, as_of=NOW, limit=2) == found[:2]


async def test_a_users_reports_are_of_that_user_alone(ledger: Ledger, accounts: tuple[SqlAccount, SqlAccount]) -> None:
    one = accounts[0].user_id
    assert await report(ledger, "user-events", "credits", user=one, days=30, as_of=NOW) == [(2,), (5,), (1,)]
    assert await report(ledger, "user-events", "credits", user=one, days=30, as_of=NOW, limit=1) == [(2,)]
    columns = ("action_type", "event_count", "total_credits")
    assert await report(ledger, "user-actions", *columns, user=one, days=30, as_of=NOW) == [
        ("unit", 1, 5), ("chat", 2, 3),
    ]  # fmt: skip


async def test_balances_are_sorted_most_first(ledger: Ledger, accounts: tuple[SqlAccount, SqlAccount]) -> None:
    one, other = (account.user_id for account in accounts)
    for sort_by, order in (
        ("consumed", [other, one]),
        ("total_consumed", [other, one]),
        ("balance", [one, other]),
        ("email", [one, other]),
        ("next_reset_at", [one, other]),
    ):
        assert [user for (user,) in await report(ledger, "users", "user_id", sort_by=sort_by)] == order, sort_by


@pytest.mark.usefixtures("accounts")
async def test_the_quick_stats_are_four_figures(ledger: Ledger) -> None:
    assert await report(ledger, "quick-stats", "metric", "value", as_of=day(34.5)) == [
        ("Total Events", "5"), ("Total Credits Consumed", "18"), ("Active Users", "1"), ("Users with Balance", "2"),
    ]  # fmt: skip
