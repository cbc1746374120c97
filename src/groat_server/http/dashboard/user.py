"""One user: the balance and how it came about, what was used, and what the account is made of."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from groat_server.core.scopes import Scope
from groat_server.errors import Unprocessable
from groat_server.http import types
from groat_server.http.dashboard.access import page_router, session_of
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf, NamedUser
from groat_server.http.shaping import read_cursor, write_cursor
from groat_server.http.statements import StatementPeriod, StatementQuery, statement_answer
from groat_server.operations import reports
from groat_server.operations.account_page import AccountPage, Part, account_page
from groat_server.operations.users import find_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from groat_server.core.table_rows import BalancePoint
    from groat_server.http.dashboard.pages import Page

router = page_router()

DAYS = 30
_LIMIT = 25
_TOKENS_MAX = 100  # no cursor goes on from these
_OF_ADMINISTRATION: frozenset[Part] = frozenset({"tokens", "audit"})
_LINE_ENDS = frozenset({"usage", "opening"})


class UserQuery(PageQuery):
    """How many days up to now, and which list of the account from where on. `as_of` is the present of the SQL shown."""

    days: types.DayCount = DAYS
    part: Part = "events"
    cursor: types.Cursor | None = None


class SqlQuery(PageQuery):
    """The window of the figures whose SQL is asked for."""

    days: types.DayCount = DAYS
    as_of: types.Instant


class StatementPageQuery(StatementPeriod, PageQuery):
    """Which period."""


@router.get("/ui/users/{user}")
async def user(request: Request, user: NamedUser, query: Annotated[UserQuery, Query()], ledger: LedgerOf) -> Response:
    """Show one user. An e-mail address leads to the page of the id: browsers and proxies keep addresses."""
    if not isinstance(user, int):
        user_id = await find_user(ledger, user)
        parameters = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/ui/users/{user_id}{parameters}", status_code=303)
    if query.part in _OF_ADMINISTRATION:
        session_of(request).caller.require(Scope.ADMIN)
    return await _show(request, user, query, ledger)


async def _show(request: Request, user_id: int, query: UserQuery, ledger: LedgerOf) -> Page:
    as_of = datetime.now(UTC).replace(microsecond=0)
    limit = _TOKENS_MAX if query.part == "tokens" else _LIMIT
    account = await account_page(
        ledger,
        user_id,
        as_of=as_of,
        days=query.days,
        part=query.part,
        place=_place(query),
        limit=limit,
    )
    return page(
        request,
        "user.html",
        query=query,
        account=account,
        user=account.user,
        as_of=as_of,
        since=as_of - timedelta(days=query.days),
        chart=_chart(account, as_of),
        used_percent=_used_percent(account),
        next_cursor=_next(query, account) if len(account.rows) == limit else None,
    )


@router.get("/ui/users/{user}/sql")
async def user_sql(request: Request, user: types.Id, query: Annotated[SqlQuery, Query()]) -> Response:
    """Show the SQL behind a user's figures."""
    script = reports.explain_user(user, days=query.days, as_of=query.as_of)
    return page(request, "sql.html", title=f"User {user}", script=script)


@router.get("/ui/users/{user}/statement.{kind}")
async def statement(
    user: types.Id, kind: Literal["csv", "html"], query: Annotated[StatementPageQuery, Query()], ledger: LedgerOf
) -> Response:
    """Make a user's statement of a period, to keep or to print."""
    asked: dict[str, Any] = {"start": query.start, "end": query.end, "format": kind}
    return await statement_answer(ledger, user, StatementQuery.model_construct(**asked))


def _place(query: UserQuery) -> Mapping[str, object]:
    """Return where a list begins, as its statement takes it. A cursor holds for the list that it was made for."""
    match query.part:
        case "events":
            before, before_id = _read(query, datetime, int)
            return {"before": before, "before_id": before_id}
        case "entries":
            (before_version,) = _read(query, int)
            return {"before_version": before_version}
        case "lots":
            (before_id,) = _read(query, int)
            return {"before_id": before_id}
        case "audit":
            (before,) = _read(query, int)
            return {"before": before, "act": None, "actor": None}
        case "tokens":
            return {}


def _read(query: UserQuery, *kinds: type[Any]) -> list[Any]:
    if query.cursor is None:
        return [None] * len(kinds)
    name, *place = read_cursor(query.cursor, str, *kinds)
    if name != query.part:
        raise Unprocessable("This cursor is of another list.", code="bad_cursor")
    return place


def _next(query: UserQuery, account: AccountPage) -> str | None:
    last = account.rows[-1]
    match query.part:
        case "events":
            return write_cursor(query.part, last.timestamp, last.id)
        case "entries":
            return write_cursor(query.part, last.version)
        case "lots" | "audit":
            return write_cursor(query.part, last.id)
        case "tokens":
            return None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something on the line that is not usage."""

    at: datetime
    value: Decimal
    name: str


def _chart(account: AccountPage, as_of: datetime) -> Mapping[str, object] | None:
    """Return the balance line as charts take it: up to now, marked where something else than usage moved it."""
    line, balance = account.line, account.user.current_balance
    if not line or balance is None:
        return None
    now = max(as_of, line[-1].at)
    marks = [_mark(point) for point in line if point.kind not in _LINE_ENDS]
    marks += [
        Mark(hold.created_at, _balance_at(line, hold.created_at), f"hold {hold.amount}, open")
        for hold in account.holds
        if hold.created_at >= line[0].at
    ]
    return {
        "kind": "line",
        "unit": "credits",
        "points": [
            *([point.at.isoformat(), float(point.balance)] for point in line),
            [now.isoformat(), float(balance)],
        ],
        "marks": [{"at": mark.at.isoformat(), "value": float(mark.value), "name": mark.name} for mark in marks],
    }


def _mark(point: BalancePoint) -> Mark:
    return Mark(point.at, point.balance, f"{point.kind} {point.amount:+f}")


def _balance_at(line: Sequence[BalancePoint], at: datetime) -> Decimal:
    """Return where the line was at an instant."""
    balance: Decimal = line[max(bisect_right(line, at, key=lambda point: point.at) - 1, 0)].balance
    return balance


def _used_percent(account: AccountPage) -> int | None:
    """Return how much of the allowance was used in this period, for the bar; without an allowance there is none."""
    used, allowance = account.user.current_month_consumed, account.user.monthly_allowance
    return None if used is None or not allowance else min(100, int(used * 100 / allowance))
