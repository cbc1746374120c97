"""The registry of reports: what there is, and each of them as JSON, as a file, or as its SQL."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, Field
from starlette.responses import Response

from groat_server.core.price_book import Kind
from groat_server.core.scopes import Scope
from groat_server.errors import NotFound
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, LedgerOf, named, protected_router
from groat_server.http.files import Explain, SqlScript, described, file_answer
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.report_shapes import ColumnShape, ParameterShape, ReportItem, ReportListShape, ReportShape
from groat_server.http.shaping import shaped
from groat_server.operations import exports, reports

router = protected_router("/api/v1/admin/reports", Scope.REPORTS_READ, tags=["reports"], responses=problem_responses())


QueriedUser = Annotated[str, Field(max_length=320), AfterValidator(named)]


class ReportParameters(types.Body):
    """What the reports take, each what its entry in the list names; absent, its default."""

    days: types.DayCount | None = None
    as_of: types.Instant | None = None
    limit: types.RowCount | None = None
    sort_by: reports.UserSort | None = None
    user: QueriedUser | None = None
    since: Annotated[types.Instant | None, Field(alias="from")] = None
    until: Annotated[types.Instant | None, Field(alias="to")] = None
    time_zone: types.TimeZone | None = None
    bucket: reports.Bucket | None = None
    group: reports.Group | None = None
    series: types.SeriesCount | None = None
    action_type: types.ActionType | None = None
    model: types.Model | None = None
    search: types.Search | None = None
    factor: types.Factor | None = None
    kind: Kind | None = None
    priced: types.Model | None = None

    def given(self) -> dict[str, Any]:
        """Return what was given, by the names of the reports' parameters."""
        fields = ReportParameters.model_fields.items()
        return {field.alias or name: getattr(self, name) for name, field in fields}


class ReportQuery(ReportParameters):
    """What a report is asked for. `bom=true` begins CSV with the mark by which spreadsheets know UTF-8.

    With `explain` the answer is the SQL that would have been run, with its parameters, as psql takes it.
    """

    format: Literal["json", exports.FileFormat] = "json"
    bom: Literal["true", "false"] = "false"
    explain: Explain = None


ReportName = Annotated[str, Path(description="A report's name, as in the list.", max_length=64)]


@router.get("", response_model=ReportListShape)
async def list_reports() -> JSON:
    """List the reports: what they take and return, and their SQL."""
    items = [
        ReportItem(
            name=name,
            title=report.title,
            parameters=[shaped(ParameterShape, parameter) for parameter in report.parameters],
            columns=[ColumnShape(column, kind) for column, kind in report.columns.items()],
            sql=report.statement.source,
        )
        for name, report in reports.REPORTS.items()
    ]
    return JSON(ReportListShape(items, len(items)))


@router.get(
    "/{name}",
    response_model=ReportShape,
    responses={**described("csv", "xlsx", "parquet", "sql"), **problem_responses(NotFound)},
)
async def show_report(
    name: ReportName, query: Annotated[ReportQuery, Query()], ledger: LedgerOf, caller: CallerOf
) -> Response:
    """Run a report. Those of administration, `audit-log` and `tokens`, need the scope `admin`."""
    caller.require(reports.find_report(name).scope)
    given = query.given()
    if query.explain:
        rows_max = reports.LIMIT_MAX if query.format == "json" else reports.FILE_ROWS_MAX
        return SqlScript(await reports.explain_report(ledger, name, rows_max=rows_max, **given))
    if query.format != "json":
        file = await exports.export_report(ledger, name, query.format, bom=query.bom == "true", **given)
        return file_answer(file, kind=query.format, name=name)
    rows = await reports.run_report(ledger, name, **given)
    columns = reports.find_report(name).columns
    return JSON(ReportShape(name, [{column: getattr(row, column) for column in columns} for row in rows], len(rows)))
