"""All reports of the registry: each with its parameters as a form, its result as a table, its files and its SQL."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.scopes import Scope
from groat_server.errors import NotFound, Unprocessable
from groat_server.http.admin_reports import ReportName, ReportParameters
from groat_server.http.dashboard.access import page_router, session_of
from groat_server.http.dashboard.forms import faults
from groat_server.http.dashboard.pages import ROWS_OF_FILES, page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.operations import reports as operations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from groat_server.core.cells import CellType
    from groat_server.operations.reports.definition import Report

router = page_router()

_FILES = (*ROWS_OF_FILES, ("parquet", operations.FILE_ROWS_MAX)) if find_spec("pyarrow") else ROWS_OF_FILES


class ReportQuery(ReportParameters, PageQuery):
    """What a report takes, and what every page does."""


@router.get("/ui/reports")
async def reports(request: Request, query: Annotated[PageQuery, Query()]) -> Response:  # noqa: ARG001 - the page's address is read
    """List the reports that this person may read."""
    caller = session_of(request).caller
    listed = {name: report for name, report in operations.REPORTS.items() if caller.may(report.scope)}
    return page(request, "reports.html", reports=listed, admin=Scope.ADMIN)


@router.get("/ui/reports/{name}")
async def report(
    request: Request, name: ReportName, query: Annotated[ReportQuery, Query()], ledger: LedgerOf
) -> Response:
    """Run a report and show what it says."""
    found = operations.find_report(name)
    session_of(request).caller.require(found.scope)
    given = {key: value for key, value in query.given().items() if value is not None}
    rows: Any = None
    errors: Mapping[str, str] = {}
    if all(parameter.name in given for parameter in found.parameters if parameter.is_required):
        try:
            rows = await operations.run_report(ledger, name, **given)
        except Unprocessable as error:
            errors, problem = faults(error)
            errors = errors or {"": problem or error.detail}
        except NotFound as error:
            errors = {operations.USER.name: error.detail}
    return page(
        request,
        "reports_one.html",
        status_code=422 if errors else 200,
        name=name,
        report=found,
        given=given,
        files=[(kind, {**given, "limit": most} if _is_limited(found) else given) for kind, most in _FILES],
        columns=[(column, kind, _shown_as(column, kind)) for column, kind in found.columns.items()],
        rows=rows,
        errors=errors,
    )


def _is_limited(report: Report) -> bool:
    return any(parameter.name == "limit" for parameter in report.parameters)


def _shown_as(column: str, kind: CellType) -> str:
    """Return how the values of a column are shown: by their type and, of numbers, by what they are of."""
    if kind == "number" and (column.endswith("dollars") or column == "api_cost"):
        return "dollars"
    if kind == "integer" and (column == "id" or column.endswith("_id")):
        return "id"
    if column == "email":
        return "email"
    return kind
