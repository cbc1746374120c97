"""An address for spreadsheets: a report as CSV for whoever has the address, as Google Sheets' IMPORTDATA reads it.

Such a formula can send no header, so that the token stands in the address, and addresses end up in histories and logs.
So the tokens taken here are those that were made for it, with the scope `sheets:read` and no other: they open this
address and nothing else, and it shows no report of administration. Nothing of the query is logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from fastapi.routing import APIRoute
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.scopes import Scope
from groat_server.errors import Forbidden, Unauthorized, Unprocessable
from groat_server.http.admin_reports import ReportName, ReportParameters
from groat_server.http.dependencies import LedgerOf, ledger_of
from groat_server.http.files import file_answer
from groat_server.operations import exports, reports
from groat_server.operations.tokens import authenticate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROWS_MAX = 10_000
"""Rows of a report at this address, also where no limit is said."""

_TOKEN = "token"  # noqa: S105 - the name of a parameter


class SheetRoute(APIRoute):
    """A route that asks for a token in its address first."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override] # it awaits, as theirs does
        """Return the handler behind the check of the token."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            await _authorize(request)
            if len(request.query_params.multi_items()) > len(request.query_params):
                raise Unprocessable("A query parameter is given twice.")
            return await handler(request)

        return guarded


router = APIRouter(route_class=SheetRoute, include_in_schema=False)


class SheetQuery(ReportParameters):
    """What a report takes, and the token."""

    token: Annotated[str, Field(max_length=1000)]


async def _authorize(request: Request) -> None:
    token = request.query_params.get(_TOKEN)
    if not token:
        raise Unauthorized("This address needs a `token` that was made for it.")
    caller = await authenticate(ledger_of(request), token)
    if caller.user_id is not None or caller.scopes != {Scope.SHEETS_READ}:
        raise Forbidden(
            f"Addresses are seen by many: this one takes tokens with {Scope.SHEETS_READ.value!r} and no other scope."
        )


@router.get("/sheets/{name}.csv")
async def sheet(name: ReportName, query: Annotated[SheetQuery, Query()], ledger: LedgerOf) -> Response:
    """Send a report as CSV, of at most so many rows."""
    report = reports.find_report(name)
    if report.scope is not Scope.REPORTS_READ:
        raise Forbidden("Reports of administration have no address.")
    given = query.given()
    if given["limit"] is None and any(parameter.name == "limit" for parameter in report.parameters):
        given["limit"] = ROWS_MAX
    file = await exports.export_report(ledger, name, "csv", rows_max=ROWS_MAX, **given)
    return file_answer(file, kind="csv", name=name)
