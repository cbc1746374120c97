"""Reports: named queries with a result. Every surface reads them through this registry.

Each has a published statement over the tables as they are, in `sql/reports`. Where that would have to read every event,
`sql/rollups` has another that answers the same, to the digit, from the roll-ups; that is the one that is run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from groat_server.core.cells import CellType, cell_types
from groat_server.core.psql_script import psql_script
from groat_server.core.report_rows import Alert, HourUsage, ModelUsage, OpenHold, Runway, UsageEvent
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
from groat_server.errors import NotFound, Unprocessable
from groat_server.operations.users import find_user, show_user
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from groat_server.operations.ledger import Ledger

DAYS_MAX = 366
LIMIT_MAX = 500
FILE_ROWS_MAX = 10_000_000
"""Rows of a report in a file, which is made on disk (about a gigabyte then) before any of it is sent."""

SHEET_ROWS_MAX = 2**20 - 1
"""Rows of a report in XLSX: a sheet ends there, its header included."""

OPEN_HOLDS_MAX = 100
"""Open holds in the report of one user."""

UserSort = Literal["consumed", "total_consumed", "balance", "email", "next_reset_at"]

_OVERVIEW = Statement("reports/overview", OverviewRow)
_USERS = Statement("reports/users", BalanceRow)
_USER_EVENTS = Statement("reports/user_events", EventRow)
_USER_ACTIONS = Statement("reports/user_actions", UserActionUsage)
_USER_ACTIONS_ROLLED_UP = Statement("rollups/user_actions", UserActionUsage)
_USER_HOLDS = Statement("reports/user_holds", OpenHold)
_SHOW_USER = Statement("users/show", UserRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """What may be said to a report. A `user` is named as in any request and becomes the statement's `user_id`."""

    name: str
    type: Literal["integer", "instant", "choice", "user"]
    description: str
    default: int | str | None = None
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def is_required(self) -> bool:
        """Whether the report cannot do without it."""
        return self.type == "user"


DAYS = Parameter(
    name="days",
    type="integer",
    description="How many days, of 24 hours each, are counted back from as_of.",
    default=30,
    minimum=1,
    maximum=DAYS_MAX,
)
AS_OF = Parameter(
    name="as_of",
    type="instant",
    description="The present that days are counted back from; null: now. What happened after it is in the window too.",
)
SORT_BY = Parameter(
    name="sort_by",
    type="choice",
    description="The order: amounts most first, email and next_reset_at ascending.",
    default="consumed",
    choices=get_args(UserSort),
)
USER = Parameter(name="user", type="user", description="The user: an id or an e-mail address.")


LIMIT = Parameter(
    name="limit",
    type="integer",
    description=f"How many rows at most; in a file up to {FILE_ROWS_MAX:,}, in XLSX {SHEET_ROWS_MAX:,}.",
    minimum=1,
    maximum=LIMIT_MAX,
)


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its published statement, what may be said to it, and the statement that is run in its place, if any.

    `paging` is what else the statement takes, and `paging_columns` what else it returns, for pages.
    """

    title: str
    statement: Statement[Any]
    parameters: tuple[Parameter, ...]
    rolled_up: Statement[Any] | None = None
    paging: Mapping[str, object] = field(default_factory=dict)
    paging_columns: frozenset[str] = frozenset()

    @property
    def columns(self) -> dict[str, CellType]:
        """The columns that every surface shows, with their types."""
        return {name: kind for name, kind in cell_types(self.statement.row).items() if name not in self.paging_columns}


def _limit(default: int) -> Parameter:
    return replace(LIMIT, default=default)


def _rolled_up(title: str, name: str, row: type[Any], parameters: tuple[Parameter, ...]) -> Report:
    return Report(title, Statement(f"reports/{name}", row), parameters, Statement(f"rollups/{name}", row))


_WINDOW = (DAYS, AS_OF)

REPORTS: Mapping[str, Report] = {
    "overview": _rolled_up("Usage, in all and by action type", "overview", OverviewRow, _WINDOW),
    "users": Report(
        "All users' balances",
        _USERS,
        (_limit(50), SORT_BY),
        paging={"after_number": None, "after_text": None, "after_user_id": None},
        paging_columns=frozenset({"sort_number", "sort_text", "total"}),
    ),
    "top-consumers": _rolled_up("Top consumers", "top_consumers", Consumer, (*_WINDOW, _limit(20))),
    "daily-trend": _rolled_up("Usage by day", "daily_trend", DayUsage, _WINDOW),
    "usage-by-hour": _rolled_up("Usage by hour", "usage_by_hour", HourUsage, (replace(DAYS, default=1), AS_OF)),
    "runway": Report(
        "How long each user's credits last",
        Statement("reports/runway", Runway),
        (replace(DAYS, default=7), AS_OF, _limit(50)),
    ),
    "alerts": Report("Balances that fell to a threshold", Statement("reports/alerts", Alert), (_limit(50),)),
    "recent-activity": Report("Recent activity", Statement("reports/recent_activity", ActivityRow), (_limit(50),)),
    "usage-events": Report("All usage events", Statement("reports/usage_events", UsageEvent), (*_WINDOW, _limit(50))),
    "usage-by-action": _rolled_up("Usage by action type", "usage_by_action", ActionUsage, _WINDOW),
    "usage-by-model": _rolled_up("Usage by model", "usage_by_model", ModelUsage, _WINDOW),
    "unusual-activity": Report(
        "Events of more than one credit", Statement("reports/unusual_activity", ActivityRow), (_limit(20),)
    ),
    "cost-validation": Report(
        "Charges against API costs", Statement("reports/cost_validation", CostValidation), _WINDOW
    ),
    "quick-stats": _rolled_up("Quick stats", "quick_stats", QuickStat, (AS_OF,)),
    "user-events": Report("One user's newest events", _USER_EVENTS, (USER, *_WINDOW, _limit(20))),
    "user-actions": Report("One user's usage by action type", _USER_ACTIONS, (USER, *_WINDOW), _USER_ACTIONS_ROLLED_UP),
    "user-holds": Report("One user's open holds", _USER_HOLDS, (USER, _limit(OPEN_HOLDS_MAX))),
}


@dataclass(frozen=True, slots=True)
class Query:
    """A published statement with the values of its parameters, and the statement that is run in its place, if any."""

    published: Statement[Any]
    values: Mapping[str, object]
    rolled_up: Statement[Any] | None = None

    @property
    def statement(self) -> Statement[Any]:
        """The statement that is run."""
        return self.rolled_up or self.published


def find_report(name: str) -> Report:
    """Return the report called so. Raises NotFound (unknown_report)."""
    if name not in REPORTS:
        raise NotFound(f"There is no report of this name. There are: {', '.join(REPORTS)}.", code="unknown_report")
    return REPORTS[name]


async def bind(ledger: Ledger, name: str, *, rows_max: int = LIMIT_MAX, **given: Any) -> Query:
    """Return a report's statement with the given parameters; those that are None take the report's defaults.

    Raises NotFound (unknown_report, unknown_user), and Unprocessable for what the report does not take.
    """
    report = find_report(name)
    known = {parameter.name: parameter for parameter in report.parameters}
    said = {key: value for key, value in given.items() if value is not None}
    errors = [{"field": key, "message": "is not taken by this report"} for key in said if key not in known]
    errors += [
        {"field": key, "message": problem}
        for key, parameter in known.items()
        if (problem := _problem(parameter, said.get(key, parameter.default), rows_max)) is not None
    ]
    if errors:
        raise Unprocessable("This report cannot be made of these parameters.", members={"errors": errors})
    values = {key: said.get(key, parameter.default) for key, parameter in known.items()}
    if USER.name in values:
        values["user_id"] = await find_user(ledger, said[USER.name])
        del values[USER.name]
    return Query(report.statement, {**values, **report.paging}, report.rolled_up)


def _problem(parameter: Parameter, value: Any, rows_max: int) -> str | None:
    """Return what is wrong with a value, if anything is."""
    if parameter.is_required and value is None:
        return "is needed by this report"
    if parameter.choices and value not in parameter.choices:
        return f"must be one of {', '.join(parameter.choices)}"
    if parameter.minimum is not None and parameter.maximum is not None:
        most = rows_max if parameter.name == LIMIT.name else parameter.maximum
        if not parameter.minimum <= value <= most:
            return f"must be from {parameter.minimum} to {most}"
    return None


async def run_report(ledger: Ledger, name: str, **given: Any) -> Sequence[Any]:
    """Run a report by its name. Raises what `bind` raises."""
    query = await bind(ledger, name, **given)
    async with ledger.database.read() as connection:
        return await query.statement.all(connection, **query.values)


async def explain_report(ledger: Ledger, name: str, *, rows_max: int = LIMIT_MAX, **given: Any) -> str:
    """Return a report's published SQL with these parameters, as a script that psql runs as it stands."""
    return _script([await bind(ledger, name, rows_max=rows_max, **given)])


def _script(queries: Sequence[Query]) -> str:
    return psql_script([(query.published.source, query.values) for query in queries])


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
    query = _users(limit, sort_by, after)
    async with ledger.database.read() as connection:
        return await _USERS.all(connection, **query.values)


def explain_users(*, limit: int, sort_by: UserSort, after: Place | None = None) -> str:
    """Return the SQL behind `users`, as a script for psql."""
    return _script([_users(limit, sort_by, after)])


def _users(limit: int, sort_by: UserSort, after: Place | None) -> Query:
    values = {
        "limit": limit,
        "sort_by": sort_by,
        "after_number": after and after.number,
        "after_text": after and after.text,
        "after_user_id": after and after.user_id,
    }
    return Query(_USERS, values)


@dataclass(frozen=True, slots=True)
class UserReport:
    """One user with the newest events, the usage by action type and the open holds, of one snapshot."""

    user: UserRow
    recent_events: list[EventRow]
    by_action_type: list[UserActionUsage]
    open_holds: list[OpenHold]


async def user(
    ledger: Ledger, user_id: int, *, days: int, events: int = 20, as_of: datetime | None = None
) -> UserReport:
    """Report on one user as of now: what is due has happened. Raises NotFound (unknown_user)."""
    await show_user(ledger, user_id)
    queries = _user(user_id, days, events, as_of)
    async with ledger.database.snapshot() as connection:
        (person,), *lists = [await query.statement.all(connection, **query.values) for query in queries]
        return UserReport(person, *lists)


def explain_user(user_id: int, *, days: int, events: int = 20, as_of: datetime | None = None) -> str:
    """Return the SQL behind `user`, as a script for psql."""
    return _script(_user(user_id, days, events, as_of))


def _user(user_id: int, days: int, events: int, as_of: datetime | None) -> list[Query]:
    window = {"user_id": user_id, "days": days, "as_of": as_of}
    return [
        Query(_SHOW_USER, {"user_id": user_id}),
        Query(_USER_EVENTS, {**window, "limit": events}),
        Query(_USER_ACTIONS, window, _USER_ACTIONS_ROLLED_UP),
        Query(_USER_HOLDS, {"user_id": user_id, "limit": OPEN_HOLDS_MAX}),
    ]
