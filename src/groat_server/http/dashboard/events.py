"""Events, newest first: where every way down from a figure ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

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
    view = View(request)
    window = query.window(view.zone, datetime.now(UTC)) if query.days or query.start else None
    asked = {
        "from": window and window.start,
        "to": query.end and window and window.end,
        "action_type": query.action_type,
        "model": query.model,
        "user": query.user,
    }
    after = reports.EventPlace(*read_cursor(query.cursor, datetime, int)) if query.cursor else None
    rows = await reports.events(ledger, after=after, limit=_LIMIT, **asked)
    last = rows[-1] if len(rows) == _LIMIT else None
    return page(
        request,
        "events.html",
        query=query,
        window=window,
        asked=asked,
        rows=rows,
        next_cursor=write_cursor(last.timestamp, last.id) if last else None,
    )
