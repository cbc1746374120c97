"""Reports: named queries with a result. Every surface reads them through this registry.

Each has a published statement over the tables as they are, in `sql/reports`. Where that would have to read every event,
`sql/rollups` has another that answers the same, to the digit, from the roll-ups; that is the one that is run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from groat_server.core.psql_script import psql_script
from groat_server.core.rows import BalanceRow, EventRow, OverviewRow, UserActionUsage, UserRow
from groat_server.core.text import is_safe
from groat_server.errors import NotFound, Unprocessable
from groat_server.operations.reports.accounts import ACCOUNTS, ALL_USERS, USER_ACTIONS, USER_EVENTS, USER_HOLDS
from groat_server.operations.reports.definition import (
    BUCKET,
    BUCKETS_MAX,
    DAYS_MAX,
    FACTOR_MAX,
    FILE_ROWS_MAX,
    FROM,
    LIMIT,
    LIMIT_MAX,
    OPEN_HOLDS_MAX,
    SERIES_MAX,
    SHEET_ROWS_MAX,
    TEXT_LENGTH_MAX,
    TO,
    USER,
    Bucket,
    Group,
    Parameter,
    Report,
    UserSort,
    zone_names,
)
from groat_server.operations.reports.tables import TABLES
from groat_server.operations.reports.usage import USAGE
from groat_server.operations.users import find_user, show_user
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from groat_server.core.report_rows import ListedEvent, OpenHold
    from groat_server.operations.ledger import Ledger

__all__ = [
    "BUCKETS_MAX",
    "DAYS_MAX",
    "FACTOR_MAX",
    "FILE_ROWS_MAX",
    "LIMIT_MAX",
    "REPORTS",
    "SERIES_MAX",
    "SHEET_ROWS_MAX",
    "USER",
    "Bucket",
    "EventPlace",
    "Group",
    "Place",
    "Query",
    "UserReport",
    "UserSort",
    "bind",
    "events",
    "explain_events",
    "explain_report",
    "explain_user",
    "explain_users",
    "find_report",
    "overview",
    "run_report",
    "run_together",
    "user",
    "users",
]

_SHOW_USER = Statement("users/show", UserRow)

REPORTS: Mapping[str, Report] = {**USAGE, **ACCOUNTS, **TABLES}


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


async def bind(ledger: Ledger, name: str, /, *, rows_max: int = LIMIT_MAX, **given: Any) -> Query:
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
    errors = errors or _window_errors(report, said)
    if errors:
        raise Unprocessable("This report cannot be made of these parameters.", members={"errors": errors})
    values = {parameter.variable: said.get(key, parameter.default) for key, parameter in known.items()}
    if USER.name in said:
        values[USER.variable] = await find_user(ledger, said[USER.name])
    return Query(report.statement, {**values, **report.paging}, report.in_place(values))


def _problem(parameter: Parameter, value: Any, rows_max: int) -> str | None:
    """Return what is wrong with a value, if anything is."""
    if value is None:
        return "is needed by this report" if parameter.is_required else None
    match parameter.type:
        case "choice" if value not in parameter.choices:
            return f"must be one of {', '.join(parameter.choices)}"
        case "text" if not 1 <= len(value) <= TEXT_LENGTH_MAX or not is_safe(value):
            return f"must have 1 to {TEXT_LENGTH_MAX} characters, none of them a control character"
        case "zone" if value not in zone_names():
            return "must be an IANA time zone, such as Europe/Berlin"
        case "integer" if parameter.minimum is not None and parameter.maximum is not None:
            most = rows_max if parameter.name == LIMIT.name else parameter.maximum
            if not parameter.minimum <= value <= most:
                return f"must be from {parameter.minimum} to {most}"
    return None


def _window_errors(report: Report, said: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is wrong with the window of a report, if it has one."""
    since, until = said.get(FROM.name), said.get(TO.name)
    if since is not None and until is not None and until < since:
        return [{"field": TO.name, "message": "must not be before from"}]
    bucket = said.get(BUCKET.name, BUCKET.default)
    if report.buckets_max is None or since is None or bucket == "all":
        return []
    # The statement goes by the database's clock; by which clock so many days are too many does not matter.
    length = (until or datetime.now(UTC)) - since
    if length > report.buckets_max * (timedelta(hours=1) if bucket == "hour" else timedelta(days=1)):
        return [
            {"field": FROM.name, "message": f"must be at most {report.buckets_max} {bucket}s before the window's end"}
        ]
    return []


async def run_report(ledger: Ledger, name: str, /, **given: Any) -> Sequence[Any]:
    """Run a report by its name. Raises what `bind` raises."""
    query = await bind(ledger, name, **given)
    async with ledger.database.read() as connection:
        return await query.statement.all(connection, **query.values)


async def run_together(ledger: Ledger, *asked: tuple[str, Mapping[str, Any]]) -> list[Sequence[Any]]:
    """Run reports, each with what is said to it, one after another, of one snapshot. Raises what `bind` raises."""
    queries = [await bind(ledger, name, **given) for name, given in asked]
    async with ledger.database.snapshot() as connection:
        return [await query.statement.all(connection, **query.values) for query in queries]


async def explain_report(ledger: Ledger, name: str, /, *, rows_max: int = LIMIT_MAX, **given: Any) -> str:
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


async def users(
    ledger: Ledger, *, limit: int, sort_by: UserSort, search: str | None = None, after: Place | None = None
) -> list[BalanceRow]:
    """List balances from the one after `after`."""
    query = _users(limit, sort_by, search, after)
    async with ledger.database.read() as connection:
        return await ALL_USERS.statement.all(connection, **query.values)


def explain_users(*, limit: int, sort_by: UserSort, search: str | None = None, after: Place | None = None) -> str:
    """Return the SQL behind `users`, as a script for psql."""
    return _script([_users(limit, sort_by, search, after)])


def _users(limit: int, sort_by: UserSort, search: str | None, after: Place | None) -> Query:
    values = {
        "limit": limit,
        "sort_by": sort_by,
        "search": search,
        "after_number": after and after.number,
        "after_text": after and after.text,
        "after_user_id": after and after.user_id,
    }
    return Query(ALL_USERS.statement, values)


@dataclass(frozen=True, slots=True)
class EventPlace:
    """A place in the list of events: the sort keys of its row."""

    timestamp: datetime
    id: int


async def events(ledger: Ledger, *, after: EventPlace | None = None, **given: Any) -> list[ListedEvent]:
    """List events, newest first, from the one after `after`; takes what the report takes. Raises what `bind` raises."""
    query = await _events(ledger, after, given)
    async with ledger.database.read() as connection:
        return await query.statement.all(connection, **query.values)


async def explain_events(ledger: Ledger, *, after: EventPlace | None = None, **given: Any) -> str:
    """Return the SQL behind `events`, as a script for psql. Raises what `bind` raises."""
    return _script([await _events(ledger, after, given)])


async def _events(ledger: Ledger, after: EventPlace | None, given: Mapping[str, Any]) -> Query:
    query = await bind(ledger, "events", **given)
    place = {"after_timestamp": after and after.timestamp, "after_id": after and after.id}
    return replace(query, values={**query.values, **place})


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
        Query(USER_EVENTS.statement, {**window, "limit": events}),
        Query(USER_ACTIONS.statement, window, USER_ACTIONS.rolled_up),
        Query(USER_HOLDS.statement, {"user_id": user_id, "limit": OPEN_HOLDS_MAX}),
    ]
