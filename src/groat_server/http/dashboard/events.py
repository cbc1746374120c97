"""Events, newest first: where every way down from a figure ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.http import types
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import View
from groat_server.http.dashboard.window import WindowQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.http.shaping import read_cursor, write_cursor
from groat_server.operations import reports

router = page_router()

_LIMIT = 50


class EventsQuery(WindowQuery):
    """Which events; without `days` or `from`, all."""

    cursor: types.Cursor | None = None


@router.get("/ui/events")
async def events(request: Request, query: Annotated[EventsQuery, Query()], ledger: LedgerOf) -> Response:
    """List events."""
    asked = _asked(request, query)
    rows = await reports.events(ledger, after=_place(query), limit=_LIMIT, **asked)
    last = rows[-1] if len(rows) == _LIMIT else None
    return page(
        request,
        "events.html",
        query=query,
        asked=asked,
        rows=rows,
        next_cursor=write_cursor(last.timestamp, last.id) if last else None,
    )


@router.get("/ui/sql/events")
async def events_sql(request: Request, query: Annotated[EventsQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the SQL of a page of the list."""
    script = await reports.explain_events(ledger, after=_place(query), limit=_LIMIT, **_asked(request, query))
    return page(request, "sql.html", title="Events", script=script)


def _asked(request: Request, query: EventsQuery) -> dict[str, Any]:
    """Return what the report is asked; `days` or `from` makes a window, `to` alone an end."""
    start = query.start
    if start is None and query.days is not None:
        start = query.window(View(request).zone, datetime.now(UTC)).start
    filters = {"action_type": query.action_type, "model": query.model, "user": query.user}
    return {"from": start, "to": query.end, **filters}


def _place(query: EventsQuery) -> reports.EventPlace | None:
    return reports.EventPlace(*read_cursor(query.cursor, datetime, int)) if query.cursor else None
