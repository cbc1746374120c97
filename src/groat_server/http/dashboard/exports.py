"""Reports as people take them along: as files, and as the SQL that is behind a figure."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.psql_script import psql_script
from groat_server.http.admin_reports import ReportName, ReportParameters
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import CallerOf, LedgerOf
from groat_server.http.files import file_answer
from groat_server.operations import exports, reports
from groat_server.operations.checks import find_check

router = page_router()


class ReportPageQuery(ReportParameters, PageQuery):
    """What a report takes, and what every page does."""

    bom: str | None = None


@router.get("/ui/export/{name}.{file_format}")
async def export(
    name: ReportName,
    file_format: exports.FileFormat,
    query: Annotated[ReportPageQuery, Query()],
    ledger: LedgerOf,
    caller: CallerOf,
) -> Response:
    """Send a report as a file."""
    caller.require(reports.find_report(name).scope)
    file = await exports.export_report(ledger, name, file_format, bom=query.bom == "true", **query.given())
    return file_answer(file, kind=file_format, name=name)


@router.get("/ui/sql/report/{name}")
async def report_sql(
    request: Request,
    name: ReportName,
    query: Annotated[ReportPageQuery, Query()],
    ledger: LedgerOf,
    caller: CallerOf,
) -> Response:
    """Show a report's published SQL with these parameters."""
    caller.require(reports.find_report(name).scope)
    script = await reports.explain_report(ledger, name, **query.given())
    return page(request, "sql.html", title=reports.find_report(name).title, script=script)


@router.get("/ui/sql/check/{name}")
async def check_sql(request: Request, name: str, query: Annotated[PageQuery, Query()]) -> Response:  # noqa: ARG001 - the page's address is read
    """Show a check's SQL."""
    return page(request, "sql.html", title=f"Check {name}", script=psql_script([(find_check(name).source, {})]))
