"""What somebody should look at: users who use much more than they did, dear events, and credits that come to an end."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.http import types
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.operations.reports import run_report

router = page_router()

FACTORS = (2, 3, 5, 10, 20)
PACES = (1, 7, 30)
_LIMIT = 20


class AlertsQuery(PageQuery):
    """How many times what they used is much more; over how many days the pace is taken at which credits end."""

    factor: types.Factor = 5
    days: types.DayCount = 7


@router.get("/ui/alerts")
async def alerts(request: Request, query: Annotated[AlertsQuery, Query()], ledger: LedgerOf) -> Response:
    """Show anomalies, dear events and low balances; how long credits last is asked for by the page itself."""
    asked = {"factor": query.factor, "limit": _LIMIT}
    anomalies, dear, fallen = await asyncio.gather(
        run_report(ledger, "anomalies", **asked),
        run_report(ledger, "unusual-activity", limit=_LIMIT),
        run_report(ledger, "alerts", limit=_LIMIT),
    )
    return page(
        request,
        "alerts.html",
        query=query,
        factors=sorted({*FACTORS, query.factor}),
        asked=asked,
        limit=_LIMIT,
        anomalies=anomalies,
        dear=dear,
        fallen=fallen,
    )


@router.get("/ui/alerts/runway")
async def runway(request: Request, query: Annotated[AlertsQuery, Query()], ledger: LedgerOf) -> Response:
    """Show whose credits end soonest. A page of its own, for it reads many events."""
    asked = {"days": query.days, "limit": _LIMIT}
    rows = await run_report(ledger, "runway", **asked)
    paces = sorted({*PACES, query.days})
    return page(request, "alerts_runway.html", query=query, asked=asked, rows=rows, paces=paces)
