"""What a user's own token shows: the balance and the events of that user, nobody else's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from groat_server.errors import Forbidden, NotFound
from groat_server.http import types
from groat_server.http.dependencies import LedgerOf, OwnUser, protected_router
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.report_shapes import StatementShape
from groat_server.http.shapes import EventListShape, EventShape, MyCreditsShape
from groat_server.http.shaping import read_cursor, shaped, write_cursor
from groat_server.http.statements import STATEMENT_FORMS, StatementQuery, statement_answer
from groat_server.operations import users

router = protected_router("/api/v1/me", None, tags=["own account"], responses=problem_responses(Forbidden))


class EventPage(types.Body):
    """How many events, and from where on."""

    limit: types.Limit = 50
    cursor: types.Cursor | None = None


@router.get("/credits", response_model=MyCreditsShape)
async def credits_(user_id: OwnUser, ledger: LedgerOf) -> JSON:
    """Show the caller's own balance as of now."""
    row = await users.show_user(ledger, user_id)
    return JSON(
        MyCreditsShape(
            email=row.email,
            tracked=not row.demo_mode,
            current_balance=row.current_balance,
            current_month_consumed=row.current_month_consumed,
            monthly_allowance=row.monthly_allowance,
            total_consumed=row.total_consumed,
            overdraft_limit=row.overdraft_limit,
            rollover_cap=row.rollover_cap,
            held=None if row.version is None else row.held,
            available=row.available,
            next_reset_at=row.next_reset_at,
            version=row.version,
        )
    )


@router.get("/events", response_model=EventListShape)
async def events(query: Annotated[EventPage, Query()], user_id: OwnUser, ledger: LedgerOf) -> JSON:
    """List the caller's own events, newest first."""
    before, before_id = read_cursor(query.cursor, datetime, int) if query.cursor else (None, None)
    rows = await users.list_events(ledger, user_id, before=before, before_id=before_id, limit=query.limit)
    next_cursor = write_cursor(rows[-1].timestamp, rows[-1].id) if len(rows) == query.limit else None
    return JSON(EventListShape([shaped(EventShape, row) for row in rows], len(rows), next_cursor))


@router.get("/statement", response_model=StatementShape, responses={**STATEMENT_FORMS, **problem_responses(NotFound)})
async def statement(query: Annotated[StatementQuery, Query()], user_id: OwnUser, ledger: LedgerOf) -> Response:
    """Make the caller's own statement of a period."""
    return await statement_answer(ledger, user_id, query)
