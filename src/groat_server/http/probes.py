"""What machines ask: is it alive, is it ready, what are its figures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response

from groat_server.errors import Busy, GroatError
from groat_server.http.dependencies import ledger_of
from groat_server.http.json import JSON
from groat_server.migrations import is_current

if TYPE_CHECKING:
    from groat_server.http.service import Service

router = APIRouter(tags=["probes"])


@router.get("/healthz", responses={200: {"description": "The process is alive."}})
async def healthz() -> JSON:
    """Tell that the process is alive."""
    return JSON({"status": "alive"})


@router.get("/readyz", responses={503: {"description": "Not ready (yet)."}})
async def readyz(request: Request) -> JSON:
    """Tell whether requests can be served: database, schema, sweep and, where asked for, sample data are there."""
    service: Service = request.app.state.service
    try:
        async with ledger_of(request).database.write() as connection:
            problems = [] if await is_current(connection, service.address.schema) else ["schema"]
    except GroatError:
        problems = ["database"]
    problems += [name for name, is_good in service.conditions() if not is_good]
    if problems:
        raise Busy(f"Not ready: {', '.join(problems)}.", code="not_ready", headers={"Retry-After": "1"})
    return JSON({"status": "ready"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Give the figures of this service (of all its workers) and the ledger, as Prometheus reads them."""
    service: Service = request.app.state.service
    await service.gauges.refresh(ledger_of(request))
    return Response(generate_latest(figures(service)), media_type=CONTENT_TYPE_LATEST)


def figures(service: Service) -> CollectorRegistry:
    """Return the figures of this process or, where it is one worker of several, of all of them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return service.registry
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # the library's
    return registry
