"""The users: who has how much, sorted and searched; those in demo mode too."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Query
from pydantic import BeforeValidator
from starlette.requests import Request
from starlette.responses import Response

from groat_server.errors import Unprocessable
from groat_server.http import types
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.http.shaping import read_cursor, write_cursor
from groat_server.operations import reports
from groat_server.operations.users import list_users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.rows import BalanceRow, UserRow

router = page_router()

_LIMIT = 50


def _or_nothing(text: object) -> object:
    """Return what was typed; an empty field is none."""
    return text or None


class UsersQuery(PageQuery):
    """Whose e-mail address or name contains `search`: accounts, in an order, or everybody, in the order of the ids."""

    show: Literal["accounts", "everybody"] = "accounts"
    search: Annotated[types.Search | None, BeforeValidator(_or_nothing)] = None
    sort_by: reports.UserSort = "consumed"
    cursor: types.Cursor | None = None


@router.get("/ui/users")
async def users(request: Request, query: Annotated[UsersQuery, Query()], ledger: LedgerOf) -> Response:
    """List users: accounts with their balances, or everybody."""
    accounts: Sequence[BalanceRow] = []
    everybody: Sequence[UserRow] = []
    if query.show == "accounts":
        accounts = await reports.users(
            ledger, limit=_LIMIT, sort_by=query.sort_by, search=query.search, after=_place(query)
        )
    # Who is looked for and has no account is in demo mode, or not there at all.
    is_sought = query.search is not None and not accounts and query.cursor is None
    if query.show == "everybody" or is_sought:
        after = read_cursor(query.cursor, str, int)[1] if query.cursor else 0
        everybody = await list_users(ledger, after=after, limit=_LIMIT, search=query.search)
    return page(
        request,
        "users.html",
        query=query,
        accounts=accounts,
        everybody=everybody,
        next_cursor=_next(query, accounts, everybody),
        asked={"search": query.search},
    )


@router.get("/ui/sql/users")
async def accounts_sql(request: Request, query: Annotated[UsersQuery, Query()]) -> Response:
    """Show the SQL of a page of the list of accounts."""
    script = reports.explain_users(limit=_LIMIT, sort_by=query.sort_by, search=query.search, after=_place(query))
    return page(request, "sql.html", title="Accounts", script=script)


def _place(query: UsersQuery) -> reports.Place | None:
    """Return where the page begins. A cursor holds for the order that it was made in."""
    if query.cursor is None:
        return None
    sort_by, *place = read_cursor(query.cursor, str, Decimal, str, int)
    if sort_by != query.sort_by:
        raise Unprocessable("This cursor is of another order.", code="bad_cursor")
    return reports.Place(*place)


def _next(query: UsersQuery, accounts: Sequence[BalanceRow], everybody: Sequence[UserRow]) -> str | None:
    rows: Sequence[Any] = accounts or everybody
    if len(rows) < _LIMIT:
        return None
    if not accounts:
        return write_cursor("everybody", rows[-1].id)
    last = accounts[-1]
    return write_cursor(query.sort_by, last.sort_number, last.sort_text, last.user_id)
