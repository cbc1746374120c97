"""What is booked, as it is booked: the newest events, and then each new one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.feed_rows import FeedFilter
from groat_server.core.scopes import Scope
from groat_server.errors import GroatError
from groat_server.http import types
from groat_server.http.admin_reports import QueriedUser
from groat_server.http.dashboard.access import page_router, session_secret
from groat_server.http.dashboard.pages import page, rendered
from groat_server.http.dashboard.stream import feed_stream
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf, ledger_of
from groat_server.operations.sessions import find_session
from groat_server.operations.users import find_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.feed_rows import FeedEvent
    from groat_server.operations.feed import Feed
    from groat_server.operations.ledger import Ledger

router = page_router()

_SHOWN = 50


class LiveQuery(PageQuery):
    """Which events: of one `user` (an id or e-mail address), one action type, one model."""

    user: QueriedUser | None = None
    action_type: types.ActionType | None = None
    model: types.Model | None = None


@router.get("/ui/live")
async def live(request: Request, query: Annotated[LiveQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the newest events; the page then listens."""
    events = await _feed(request).newest(await _wanted(ledger, query), _SHOWN)
    return page(request, "live.html", query=query, **_rows(events, 0))


@router.get("/ui/live/stream")
async def stream(request: Request, query: Annotated[LiveQuery, Query()], ledger: LedgerOf) -> Response:
    """Send each event as rows of the page's table.

    It begins with the newest that the page has as well, so that none is lost between the two; the page knows its own.
    """

    async def still_allowed() -> bool:
        """Tell whether the session lasts. A page that is left open does not keep it up."""
        try:
            session = await find_session(ledger_of(request), session_secret(request) or "", is_in_use=False)
        except GroatError:
            return False
        return session.caller.may(Scope.REPORTS_READ)

    def render(events: Sequence[FeedEvent], skipped: int) -> str:
        return rendered(request, "live_rows.html", **_rows(events, skipped))

    return feed_stream(
        _feed(request),
        await _wanted(ledger, query),
        render,
        still_allowed,
        last=_SHOWN,
        last_event_id=request.headers.get("last-event-id"),
    )


async def _wanted(ledger: Ledger, query: LiveQuery) -> FeedFilter:
    user_id = None if query.user is None else await find_user(ledger, query.user)
    return FeedFilter(user_id=user_id, action_type=query.action_type, model=query.model)


def _rows(events: Sequence[FeedEvent], skipped: int) -> dict[str, Any]:
    """Return what the rows' template takes: the newest first, each with how many seconds old it is."""
    now = datetime.now(UTC)
    rows = [(event, max(0.0, (now - event.recorded_at).total_seconds())) for event in reversed(events)]
    return {"rows": rows, "skipped": skipped}


def _feed(request: Request) -> Feed:
    return cast("Feed", request.app.state.feed)
