"""The five reports of the monitoring guide, with its parameters and keys."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import Query
from starlette.responses import Response

from groat_server.core.scopes import Scope
from groat_server.errors import NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.dependencies import LedgerOf, NamedUser, protected_router
from groat_server.http.files import OR_SQL, Explain, SqlScript
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.shapes import (
    ActionShape,
    BalanceListItem,
    BalanceListShape,
    ConsumerShape,
    DailyTrendShape,
    DayShape,
    EventShape,
    OpenHoldShape,
    OverviewShape,
    TopConsumersShape,
    UserReportShape,
)
from groat_server.http.shaping import balance_shape, person_shape, read_cursor, shaped, write_cursor
from groat_server.operations import reports
from groat_server.operations.users import find_user

router = protected_router("/api/v1/admin/credits", Scope.REPORTS_READ, tags=["reports"], responses=problem_responses())


class Window(types.Body):
    """The last `days` days, as 24 hours each; with `explain`, the SQL in place of its rows."""

    days: types.DayCount = 30
    explain: Explain = None


class TopWindow(Window):
    """The window and how many of its users."""

    limit: types.Limit = 20


class BalancePage(types.Body):
    """Which balances, in which order: amounts most first, e-mail and next_reset_at in ascending order."""

    limit: types.Limit = 50
    sort_by: Literal["consumed", "total_consumed", "balance", "email", "next_reset_at"] = "consumed"
    cursor: types.Cursor | None = None
    explain: Explain = None


@router.get("/overview", response_model=OverviewShape, responses=OR_SQL)
async def overview(query: Annotated[Window, Query()], ledger: LedgerOf) -> Response:
    """Report the usage of a window, in all and by action type."""
    if query.explain:
        return SqlScript(await reports.explain_report(ledger, "overview", days=query.days))
    total, by_action_type = await reports.overview(ledger, days=query.days)
    return JSON(
        OverviewShape(
            period_days=query.days,
            total_events=total.event_count,
            total_credits=total.total_credits,
            refunded_credits=total.refunded_credits,
            net_credits=total.net_credits,
            total_api_cost_dollars=total.total_api_cost_dollars,
            active_users=total.active_users or 0,
            by_action_type=[shaped(ActionShape, row) for row in by_action_type],
        )
    )


@router.get("/users", response_model=BalanceListShape, responses=OR_SQL)
async def users(query: Annotated[BalancePage, Query()], ledger: LedgerOf) -> Response:
    """List all users' balances. Resets that are due may be up to a minute behind."""
    after = _place(query)
    if query.explain:
        return SqlScript(reports.explain_users(limit=query.limit, sort_by=query.sort_by, after=after))
    rows = await reports.users(ledger, limit=query.limit, sort_by=query.sort_by, after=after)
    last = rows[-1] if len(rows) == query.limit else None
    return JSON(
        BalanceListShape(
            users=[shaped(BalanceListItem, row) for row in rows],
            count=len(rows),
            total=rows[0].total if rows else 0,
            next_cursor=write_cursor(query.sort_by, last.sort_number, last.sort_text, last.user_id) if last else None,
        )
    )


def _place(query: BalancePage) -> reports.Place | None:
    """Return where the page begins. A cursor holds for the order that it was made in."""
    if query.cursor is None:
        return None
    sort_by, *place = read_cursor(query.cursor, str, Decimal, str, int)
    if sort_by != query.sort_by:
        raise Unprocessable("This cursor is of another order.", code="bad_cursor")
    return reports.Place(*place)


@router.get("/user/{user}", response_model=UserReportShape, responses={**OR_SQL, **problem_responses(NotFound)})
async def user(user: NamedUser, query: Annotated[Window, Query()], ledger: LedgerOf) -> Response:
    """Report on one user: the balance as of now, the newest events of the window, its usage by type, open holds."""
    user_id = await find_user(ledger, user)
    if query.explain:
        return SqlScript(reports.explain_user(user_id, days=query.days))
    report = await reports.user(ledger, user_id, days=query.days)
    return JSON(
        UserReportShape(
            user=person_shape(report.user),
            balance=balance_shape(report.user),
            recent_events=[shaped(EventShape, row) for row in report.recent_events],
            by_action_type=[shaped(ActionShape, row) for row in report.by_action_type],
            open_holds=[shaped(OpenHoldShape, row) for row in report.open_holds],
        )
    )


@router.get("/top-consumers", response_model=TopConsumersShape, responses=OR_SQL)
async def top_consumers(query: Annotated[TopWindow, Query()], ledger: LedgerOf) -> Response:
    """List the users who consumed most in a window."""
    if query.explain:
        return SqlScript(await reports.explain_report(ledger, "top-consumers", days=query.days, limit=query.limit))
    rows = await reports.run_report(ledger, "top-consumers", days=query.days, limit=query.limit)
    return JSON(TopConsumersShape(query.days, [shaped(ConsumerShape, row) for row in rows], len(rows)))


@router.get("/daily-trend", response_model=DailyTrendShape, responses=OR_SQL)
async def daily_trend(query: Annotated[Window, Query()], ledger: LedgerOf) -> Response:
    """Report the usage of each UTC day that a window touches."""
    if query.explain:
        return SqlScript(await reports.explain_report(ledger, "daily-trend", days=query.days))
    rows = await reports.run_report(ledger, "daily-trend", days=query.days)
    return JSON(DailyTrendShape(query.days, [shaped(DayShape, row) for row in rows]))
