"""An account through time: the balance at an instant, the statement of a period as JSON, CSV or a page to print."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from functools import cache
from typing import Annotated, Literal

from fastapi import Query
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from pydantic import Field
from starlette.responses import Response

from groat_server.core.cells import csv_cell
from groat_server.core.scopes import Scope
from groat_server.errors import NotFound
from groat_server.http import types
from groat_server.http.dependencies import LedgerOf, NamedUser, protected_router
from groat_server.http.files import Attachment, Page, described
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.report_shapes import PastBalanceShape, StatementLineShape, StatementShape, WhoShape
from groat_server.http.shaping import shaped
from groat_server.operations import statements
from groat_server.operations.users import find_user

router = protected_router("/api/v1/admin", Scope.REPORTS_READ, tags=["reports"], responses=problem_responses(NotFound))

StatementFormat = Literal["json", "csv", "html"]
STATEMENT_FORMS = described("csv", "html")


class BalanceInstant(types.Body):
    """Which instant; absent: now."""

    at: types.Instant | None = None


class StatementPeriod(types.Body):
    """Which period, by when moves were booked: from `from` (absent: this period's start) until before `to` (now)."""

    start: Annotated[types.Instant | None, Field(alias="from")] = None
    end: Annotated[types.Instant | None, Field(alias="to")] = None


class StatementQuery(StatementPeriod):
    """Which period, in which form."""

    format: StatementFormat = "json"


@router.get("/credits/user/{user}/balance", response_model=PastBalanceShape)
async def balance_at(user: NamedUser, query: Annotated[BalanceInstant, Query()], ledger: LedgerOf) -> JSON:
    """Tell a user's balance as it was at an instant, by when moves were booked; what was voided since still counts."""
    return JSON(past_balance_shape(await statements.balance_at(ledger, await find_user(ledger, user), query.at)))


@router.get("/users/{user}/statement", response_model=StatementShape, responses=STATEMENT_FORMS)
async def statement(user: NamedUser, query: Annotated[StatementQuery, Query()], ledger: LedgerOf) -> Response:
    """Make a user's statement of a period."""
    return await statement_answer(ledger, await find_user(ledger, user), query)


async def statement_answer(ledger: LedgerOf, user_id: int, query: StatementQuery) -> Response:
    """Answer a request for a statement."""
    made = await statements.make_statement(ledger, user_id, start=query.start, end=query.end)
    shape = statement_shape(made)
    match query.format:
        case "json":
            return JSON(shape)
        case "csv":
            return Attachment(statement_csv(shape), kind="csv", name=f"statement-{user_id}")
        case "html":
            return Page(statement_page(shape))


def past_balance_shape(found: statements.PastBalance) -> PastBalanceShape:
    """Return a past balance as the wire says it."""
    return PastBalanceShape(
        user=shaped(WhoShape, found.user),
        at=found.at,
        balance=found.balance.balance,
        total_consumed=found.balance.total_consumed,
        version=found.balance.version,
        recorded_at=found.balance.recorded_at,
    )


def statement_shape(made: statements.Statement) -> StatementShape:
    """Return a statement as the wire says it."""
    return StatementShape(
        user=shaped(WhoShape, made.user),
        period_start=made.start,
        period_end=made.end,
        opening_balance=made.opening.balance,
        lines=[shaped(StatementLineShape, line) for line in made.lines],
        closing_balance=made.closing.balance,
    )


def statement_csv(shape: StatementShape) -> str:
    """Return a statement as CSV: the opening balance, the lines, the closing balance: the sum of those above."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("kind", "action_type", "count", "amount"))
    rows.writerow(map(csv_cell, ("opening_balance", None, None, shape.opening_balance)))
    for line in shape.lines:
        rows.writerow(map(csv_cell, (line.kind, line.action_type, line.count, line.amount)))
    rows.writerow(map(csv_cell, ("closing_balance", None, None, shape.closing_balance)))
    return text.getvalue()


def statement_page(shape: StatementShape) -> str:
    """Return a statement as a page to print, which needs nothing else."""
    return _template("statement.html").render(statement=shape)


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("groat_server.http"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown_time"] = _shown_time
    return environment.get_template(name)


def _shown_time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
