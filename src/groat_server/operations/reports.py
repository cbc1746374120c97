"""Reports: named queries with a result. Each is one SQL file; every surface reads it through this registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from groat_server.core.rows import (
    ActionUsage,
    ActivityRow,
    BalanceRow,
    Consumer,
    CostValidation,
    DayUsage,
    EventRow,
    OverviewRow,
    QuickStat,
    UserActionUsage,
    UserRow,
)
from groat_server.errors import NotFound
from groat_server.operations.users import show_user
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from groat_server.operations.ledger import Ledger

DAYS_MAX = 366
LIMIT_MAX = 500

UserSort = Literal["consumed", "total_consumed", "balance", "email", "next_reset_at"]

_OVERVIEW = Statement("reports/overview", OverviewRow)
_USERS = Statement("reports/users", BalanceRow)
_USER_EVENTS = Statement("reports/user_events", EventRow)
_USER_ACTIONS = Statement("reports/user_actions", UserActionUsage)
_TOP_CONSUMERS = Statement("reports/top_consumers", Consumer)
_DAILY_TREND = Statement("reports/daily_trend", DayUsage)
_SHOW_USER = Statement("users/show", UserRow)


@dataclass(frozen=True, slots=True)
class Report:
    """A report that needs no more than its parameters. `defaults` are what the guide's queries say."""

    title: str
    statement: Statement[Any]
    defaults: Mapping[str, object]


REPORTS: Mapping[str, Report] = {
    "overview": Report("Usage, in all and by action type", _OVERVIEW, {"days": 30, "as_of": None}),
    "users": Report(
        "All users' balances",
        _USERS,
        {"limit": 50, "sort_by": "consumed", "after_number": None, "after_text": None, "after_user_id": None},
    ),
    "top-consumers": Report("Top consumers", _TOP_CONSUMERS, {"days": 30, "limit": 20, "as_of": None}),
    "daily-trend": Report("Usage by day", _DAILY_TREND, {"days": 30, "as_of": None}),
    "recent-activity": Report("Recent activity", Statement("reports/recent_activity", ActivityRow), {"limit": 50}),
    "usage-by-action": Report(
        "Usage by action type", Statement("reports/usage_by_action", ActionUsage), {"days": 30, "as_of": None}
    ),
    "unusual-activity": Report(
        "Events of more than one credit", Statement("reports/unusual_activity", ActivityRow), {"limit": 20}
    ),
    "cost-validation": Report(
        "Charges against API costs", Statement("reports/cost_validation", CostValidation), {"days": 30, "as_of": None}
    ),
    "quick-stats": Report("Quick stats", Statement("reports/quick_stats", QuickStat), {"as_of": None}),
}


async def run_report(ledger: Ledger, name: str, **parameters: object) -> Sequence[Any]:
    """Run a report by its name; parameters that are absent or None take the report's defaults. Raises NotFound."""
    report = REPORTS.get(name)
    if report is None:
        raise NotFound(f"There is no report {name!r}. There are: {', '.join(REPORTS)}.", code="unknown_report")
    given = {key: value for key, value in parameters.items() if key in report.defaults and value is not None}
    async with ledger.database.read() as connection:
        return await report.statement.all(connection, **{**report.defaults, **given})


async def overview(ledger: Ledger, *, days: int) -> tuple[OverviewRow, list[OverviewRow]]:
    """Report the totals of the last `days` days and their parts by action type, of one snapshot."""
    total, *by_action_type = await run_report(ledger, "overview", days=days)
    return total, by_action_type


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of balances: the sort keys of its row."""

    number: Decimal
    text: str
    user_id: int


async def users(ledger: Ledger, *, limit: int, sort_by: UserSort, after: Place | None = None) -> list[BalanceRow]:
    """List balances from the one after `after`."""
    async with ledger.database.read() as connection:
        return await _USERS.all(
            connection,
            limit=limit,
            sort_by=sort_by,
            after_number=after and after.number,
            after_text=after and after.text,
            after_user_id=after and after.user_id,
        )


@dataclass(frozen=True, slots=True)
class UserReport:
    """One user with the newest events and the usage by action type, of one snapshot."""

    user: UserRow
    recent_events: list[EventRow]
    by_action_type: list[UserActionUsage]


async def user(
    ledger: Ledger, user_id: int, *, days: int, events: int = 20, as_of: datetime | None = None
) -> UserReport:
    """Report on one user as of now: what is due has happened. Raises NotFound (unknown_user)."""
    await show_user(ledger, user_id)
    async with ledger.database.snapshot() as connection:
        window = {"user_id": user_id, "days": days, "as_of": as_of}
        return UserReport(
            await _SHOW_USER.one(connection, user_id=user_id),
            await _USER_EVENTS.all(connection, limit=events, **window),
            await _USER_ACTIONS.all(connection, **window),
        )
