"""The audit log, to be read."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator, Field

from groat_server.core.scopes import Scope
from groat_server.errors import NotFound
from groat_server.http import types
from groat_server.http.dependencies import LedgerOf, named, protected_router
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.shapes import AuditListShape, AuditShape
from groat_server.http.shaping import read_cursor, shaped, write_cursor
from groat_server.operations import audit as operations
from groat_server.operations.users import find_user

router = protected_router("/api/v1/admin", Scope.ADMIN, tags=["administration"], responses=problem_responses())


class AuditPage(types.Body):
    """Which acts: of one `user` (an id or e-mail address), one kind of `act`, one `actor`; newest first."""

    user: Annotated[str, Field(max_length=320), AfterValidator(named)] | None = None
    act: types.Search | None = None
    actor: types.Search | None = None
    limit: types.Limit = 50
    cursor: types.Cursor | None = None


@router.get("/audit", response_model=AuditListShape, responses=problem_responses(NotFound))
async def list_acts(query: Annotated[AuditPage, Query()], ledger: LedgerOf) -> JSON:
    """List administrative acts: who did what, when, to whom."""
    (before,) = read_cursor(query.cursor, int) if query.cursor else (None,)
    user_id = None if query.user is None else await find_user(ledger, query.user)
    rows = await operations.list_acts(
        ledger, user_id=user_id, act=query.act, actor=query.actor, before=before, limit=query.limit
    )
    next_cursor = write_cursor(rows[-1].id) if len(rows) == query.limit else None
    return JSON(AuditListShape([shaped(AuditShape, row) for row in rows], len(rows), next_cursor))
