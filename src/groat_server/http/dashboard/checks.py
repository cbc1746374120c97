"""The checks: what each promises, what its last run found and when; run one by one; and whether the ledger lives."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.http import types
from groat_server.http.admin_checks import checking_turn
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.forms import checked, read_fields
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.http.probes import figures
from groat_server.operations.checks import CHECKS, FINDINGS_MAX, find_check, promise_of
from groat_server.operations.reports import run_report
from groat_server.operations.vitals import read_vitals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.rows import Finding
    from groat_server.http.service import Service
    from groat_server.jobs.checks import CheckRun, CheckRuns

router = page_router()

_SUBJECT = re.compile(r"(?:event (?P<event>\d+) of )?(?:.* of )?user (?P<user>\d+)")


class RunForm(types.Body):
    """What to run: this check alone, shown on its own page or in the list, or it and all that follow it in the list."""

    is_alone: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A check as it stands in the list."""

    name: str
    promise: str
    run: CheckRun | None

    @property
    def verdict(self) -> str:
        """What its last run came to, in words."""
        if self.run is None:
            return "not run yet"
        return self.run.verdict or "could not be run"


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """What `/metrics` says of the service itself, all workers together."""

    queued: int
    not_taken: int
    batches: int
    batched_charges: int
    commit_seconds: float
    server_errors: int


@router.get("/ui/checks")
async def checks(request: Request, query: Annotated[PageQuery, Query()], ledger: LedgerOf) -> Response:  # noqa: ARG001 - the page's address is read
    """Show all checks, and how the ledger and the service are."""
    vitals, newest = await asyncio.gather(read_vitals(ledger), run_report(ledger, "recent-activity", limit=1))
    listed = [_listed(request, name) for name in CHECKS]
    return page(
        request,
        "checks.html",
        vitals=vitals,
        newest=newest[0] if newest else None,
        service=_service_figures(request),
        checks=listed,
        counts={word: sum(check.verdict == word for check in listed) for word in dict.fromkeys(_words(listed))},
        of_demo=_listed(request, "demo_untracked"),
        unpriced=_listed(request, "no_unpriced_event"),
    )


@router.get("/ui/checks/{name}")
async def check(request: Request, name: str, query: Annotated[PageQuery, Query()]) -> Response:  # noqa: ARG001 - the page's address is read
    """Show a check's findings."""
    find_check(name)
    return _alone(request, name)


@router.post("/ui/checks/{name}/run")
async def run(request: Request, name: str, ledger: LedgerOf) -> Response:
    """Run a check, one at a time."""
    form = checked(RunForm, await read_fields(request))
    find_check(name)
    with checking_turn(request):
        await _runs(request).run(ledger, name)
    if form.is_alone:
        return _alone(request, name)
    place = CHECKS.index(name) + 1
    return page(
        request,
        "checks_run.html",
        check=_listed(request, name),
        goes_on=form.goes_on,
        place=place,
        total=len(CHECKS),
        following=CHECKS[place] if place < len(CHECKS) else None,
    )


def _alone(request: Request, name: str) -> Response:
    listed = _listed(request, name)
    result = listed.run.result if listed.run is not None else None
    findings = [] if result is None else [(finding, _link(finding)) for finding in result.findings]
    return page(request, "checks_one.html", check=listed, result=result, findings=findings, findings_max=FINDINGS_MAX)


def _link(finding: Finding) -> str | None:
    """Return where what a finding concerns can be looked at, if it names a user or an event."""
    named = _SUBJECT.fullmatch(finding.subject)
    if named is None:
        return None
    user = f"/ui/users/{named['user']}"
    return f"{user}/events/{named['event']}" if named["event"] else user


def _listed(request: Request, name: str) -> Listed:
    return Listed(name, promise_of(name), _runs(request).last(name))


def _words(listed: Sequence[Listed]) -> list[str]:
    return [check.verdict for check in listed]


def _service_of(request: Request) -> Service:
    return cast("Service", request.app.state.service)


def _runs(request: Request) -> CheckRuns:
    return _service_of(request).check_runs


def _service_figures(request: Request) -> ServiceFigures:
    registry = figures(_service_of(request))

    def figure(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"groat_{name}", labels) or 0.0

    batches = figure("batcher_commit_seconds_count")
    return ServiceFigures(
        queued=int(figure("batcher_queue_charges")),
        not_taken=int(figure("batcher_refused_charges_total")),
        batches=int(batches),
        batched_charges=int(figure("batcher_batch_charges_sum")),
        commit_seconds=figure("batcher_commit_seconds_sum") / batches if batches else 0.0,
        server_errors=int(figure("http_request_seconds_count", status="5xx")),
    )
