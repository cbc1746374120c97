"""The audit log: who did what by way of administration, when, to whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.scopes import Scope
from groat_server.http import types
from groat_server.http.admin_reports import QueriedUser
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.http.shaping import read_cursor, write_cursor
from groat_server.operations.audit import list_acts
from groat_server.operations.users import find_user

if TYPE_CHECKING:
    from groat_server.core.rows import AuditRow

router = page_router(Scope.ADMIN)

_LIMIT = 50


class AuditQuery(PageQuery):
    """Which acts: concerning one `user` (an id or e-mail address), of one kind, of one actor; newest first."""

    user: QueriedUser | None = None
    act: types.Search | None = None
    actor: types.Search | None = None
    cursor: types.Cursor | None = None


@router.get("/ui/audit")
async def audit(request: Request, query: Annotated[AuditQuery, Query()], ledger: LedgerOf) -> Response:
    """List acts."""
    (before,) = read_cursor(query.cursor, int) if query.cursor else (None,)
    user_id = None if query.user is None else await find_user(ledger, query.user)
    rows = await list_acts(ledger, user_id=user_id, act=query.act, actor=query.actor, before=before, limit=_LIMIT)
    return page(
        request,
        "audit.html",
        query=query,
        acts=[(row, list(_details(row))) for row in rows],
        next_cursor=write_cursor(rows[-1].id) if len(rows) == _LIMIT else None,
    )


def _details(row: AuditRow) -> Iterator[tuple[str, str]]:
    """Yield what an act says of itself, each with its name; what has members of its own under joined names."""
    yield from _flat("", row.details)


def _flat(prefix: str, details: Any) -> Iterator[tuple[str, str]]:
    for name, value in (details or {}).items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)
