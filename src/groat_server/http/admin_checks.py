"""The checks of the books, over HTTP: their verdicts, what they found, and their SQL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.psql_script import psql_script
from groat_server.core.scopes import Scope
from groat_server.database import RETRY_AFTER
from groat_server.errors import Busy, NotFound
from groat_server.http import types
from groat_server.http.dependencies import LedgerOf, protected_router
from groat_server.http.files import OR_SQL, Explain, SqlScript
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.report_shapes import CheckListShape, CheckShape, FindingShape
from groat_server.http.shaping import shaped
from groat_server.operations.checks import CheckResult, find_check, run_checks

if TYPE_CHECKING:
    from collections.abc import Iterator

router = protected_router("/api/v1/admin/checks", Scope.REPORTS_READ, tags=["reports"], responses=problem_responses())

CheckName = Annotated[str, Path(description="A check's name, as in the list.", max_length=64)]


class CheckQuery(types.Body):
    """With `explain` the answer is the check's SQL, as psql takes it."""

    explain: Explain = None


@router.get("", response_model=CheckListShape)
async def list_checks(request: Request, ledger: LedgerOf) -> JSON:
    """Run all checks, one by one, and tell their verdicts. They read the whole ledger and repair nothing."""
    with checking_turn(request):
        results = await run_checks(ledger)
    checks = [_shape(result) for result in results]
    return JSON(CheckListShape(checks, len(checks), sum(check.verdict == "fail" for check in checks)))


@router.get("/{check}", response_model=CheckShape, responses={**OR_SQL, **problem_responses(NotFound)})
async def show_check(
    request: Request, check: CheckName, query: Annotated[CheckQuery, Query()], ledger: LedgerOf
) -> Response:
    """Run one check."""
    statement = find_check(check)
    if query.explain:
        return SqlScript(psql_script([(statement.source, {})]))
    with checking_turn(request):
        (result,) = await run_checks(ledger, [check])
    return JSON(_shape(result))


@contextmanager
def checking_turn(request: Request) -> Iterator[None]:
    """Let one caller at a time check: each reads the whole ledger, and reports need connections too."""
    state = request.app.state
    if getattr(state, "is_checking", False):
        raise Busy("The checks are being run for somebody else.", headers=RETRY_AFTER)
    state.is_checking = True
    try:
        yield
    finally:
        state.is_checking = False


def _shape(result: CheckResult) -> CheckShape:
    findings = [shaped(FindingShape, finding) for finding in result.findings]
    return CheckShape(result.name, result.verdict, result.promise, result.count, findings)
