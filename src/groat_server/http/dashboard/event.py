"""One event: what was used, how it was priced, where its credits came from, and what became of it."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.database import write_json
from groat_server.http import types
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.http.ledger_shaping import explanation_shape
from groat_server.operations.explain import explain_event
from groat_server.operations.users import show_user

if TYPE_CHECKING:
    from collections.abc import Mapping

router = page_router()

_SMALLEST = timedelta(microseconds=1)


@router.get("/ui/users/{user}/events/{event_id}")
async def event(
    request: Request,
    user: types.Id,
    event_id: types.Id,
    query: Annotated[PageQuery, Query()],  # noqa: ARG001 - the page's address is read
    ledger: LedgerOf,
) -> Response:
    """Show how an event was priced."""
    explanation = await explain_event(ledger, user, event_id)
    explained = explanation_shape(user, explanation)
    at = explained.event.timestamp
    return page(
        request,
        "event.html",
        user=await show_user(ledger, user),
        explained=explained,
        event=explained.event,
        price=explained.price,
        version=explanation.version,
        metadata=_written(explained.event.metadata),
        flat=_told(explained.flat),
        asked={"user": user, "from": at, "to": at + _SMALLEST},
    )


def _written(metadata: Mapping[str, Any] | None) -> str:
    """Return what the application said of an event beside, as JSON to read."""
    return msgspec.json.format(write_json(metadata), indent=2).decode() if metadata else ""


def _told(rates: msgspec.Raw | None) -> Mapping[str, Decimal] | None:
    """Return what an action's own price says."""
    if rates is None:
        return None
    said = json.loads(bytes(rates), parse_float=Decimal, parse_int=Decimal)
    return {name: Decimal(value) for name, value in said.items()}
