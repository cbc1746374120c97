"""Access tokens: who has which, for how long; made, replaced and taken away.

A token is in the one answer that makes it, in no address and in no log.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.scopes import Scope
from groat_server.errors import GroatError, NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.admin_tokens import GRACE_HOURS_MAX, LIFETIME_DAYS_MAX
from groat_server.http.dashboard.access import page_router, session_of
from groat_server.http.dashboard.forms import checked, faults, read_fields
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery, say_on_next_page
from groat_server.http.dependencies import LedgerOf, named
from groat_server.operations.reports import LIMIT_MAX
from groat_server.operations.tokens import GRACE_HOURS, create_token, list_tokens, revoke_token, rotate_token
from groat_server.operations.users import UserName, find_user

if TYPE_CHECKING:
    from collections.abc import Mapping

    from groat_server.core.rows import TokenRow
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.tokens import NewToken

router = page_router(Scope.ADMIN)

WARN_DAYS = 14
"""Tokens that end within so many days are pointed out."""

_SCOPES: Mapping[Scope, str] = {
    Scope.USAGE_WRITE: "charge, hold and estimate",
    Scope.USAGE_PRICE: "say what a use has cost",
    Scope.BALANCE_READ: "read balances",
    Scope.GRANTS_WRITE: "grant, adjust and refund",
    Scope.REPORTS_READ: "read reports, and this dashboard",
    Scope.SHEETS_READ: "read reports as CSV by their address",
    Scope.ADMIN: "administer",
}


_Lifetime = Annotated[int, types.whole(1, LIFETIME_DAYS_MAX)]


class TokensQuery(PageQuery):
    """Which tokens: those that work, or all."""

    show: Literal["working", "all"] = "working"


class NewQuery(PageQuery):
    """Whose token is to be made, and of which user."""

    holder: Literal["user", "service"] = "user"
    user: types.Search | None = None


class UserTokenForm(types.Body):
    """A user's token to make."""

    holder: Literal["user"]
    user: Annotated[str, AfterValidator(named)]
    name: types.TokenName
    lifetime_days: _Lifetime | None = None


class ServiceTokenForm(types.Body):
    """A service's token to make."""

    holder: Literal["service"]
    name: types.TokenName
    lifetime_days: _Lifetime | None = None
    scopes: Annotated[list[Scope], Field(min_length=1)]


class RotateForm(types.Body):
    """How long the old token works beside the new one, and how long the new one does."""

    grace_hours: Annotated[int, types.whole(0, GRACE_HOURS_MAX)] = GRACE_HOURS
    lifetime_days: _Lifetime | None = None


@router.get("/ui/tokens")
async def tokens(request: Request, query: Annotated[TokensQuery, Query()], ledger: LedgerOf) -> Response:
    """List tokens."""
    rows = await list_tokens(ledger, only_working=query.show == "working", limit=LIMIT_MAX)
    now = datetime.now(UTC)
    listed = [(row, _state(row, now)) for row in rows]
    return page(
        request,
        "tokens.html",
        query=query,
        tokens=listed,
        ending=sum(state == "works" and _ends_soon(row) for row, state in listed),
        own=session_of(request).token_id,
        warn_days=WARN_DAYS,
        is_cut=len(rows) == LIMIT_MAX,
        limit=LIMIT_MAX,
    )


@router.get("/ui/tokens/new")
async def ask_for_new(request: Request, query: Annotated[NewQuery, Query()]) -> Response:
    """Ask for what is to be made."""
    return _new_form(request, query.holder, {"user": query.user or ""})


@router.post("/ui/tokens/new")
async def make(request: Request, ledger: LedgerOf) -> Response:
    """Make a token, and show it this once."""
    fields = await read_fields(request)
    holder = "service" if fields.get("holder") == "service" else "user"
    try:
        made = await _made(ledger, holder, fields, session_of(request).caller.actor)
    except (Unprocessable, NotFound) as error:
        errors, problem = faults(error)
        errors = errors or {"user": problem or error.detail}
        return _new_form(request, holder, fields, errors=errors, status_code=error.status)
    return page(request, "tokens_made.html", made=made, replaced=None, goes_to="/ui/tokens")


@router.get("/ui/tokens/{token_id}/rotate")
async def ask_to_rotate(
    request: Request,
    token_id: types.Id,
    query: Annotated[PageQuery, Query()],  # noqa: ARG001 - the page's address is read
    ledger: LedgerOf,
) -> Response:
    """Ask how a token is to be replaced."""
    return _rotate_form(request, await _token(ledger, token_id), {"grace_hours": str(GRACE_HOURS)})


@router.post("/ui/tokens/{token_id}/rotate")
async def rotate(request: Request, token_id: types.Id, ledger: LedgerOf) -> Response:
    """Make a token in place of another, and show it this once."""
    fields = await read_fields(request)
    old = await _token(ledger, token_id)
    try:
        form = checked(RotateForm, fields)
        actor = session_of(request).caller.actor
        made = await rotate_token(ledger, token_id, **form.model_dump(), actor=actor)
    except (Unprocessable, NotFound) as error:
        return _rotate_form(request, old, fields, error=error)
    return page(
        request, "tokens_made.html", made=made, replaced=old, grace_hours=form.grace_hours, goes_to="/ui/tokens"
    )


@router.get("/ui/tokens/{token_id}/revoke")
async def ask_to_revoke(
    request: Request,
    token_id: types.Id,
    query: Annotated[PageQuery, Query()],  # noqa: ARG001 - the page's address is read
    ledger: LedgerOf,
) -> Response:
    """Show what is to be taken away."""
    return page(
        request,
        "tokens_revoke.html",
        token=await _token(ledger, token_id),
        is_own=token_id == session_of(request).token_id,
    )


@router.post("/ui/tokens/{token_id}/revoke")
async def revoke(request: Request, token_id: types.Id, ledger: LedgerOf) -> Response:
    """Take a token away."""
    await revoke_token(ledger, token_id, actor=session_of(request).caller.actor)
    answer = Response(status_code=200, headers={"HX-Redirect": "/ui/tokens"})
    say_on_next_page(answer, f"Token {token_id} was revoked.")
    return answer


async def _made(ledger: Ledger, holder: str, fields: Mapping[str, str], actor: str) -> NewToken:
    if holder == "user":
        of_user = checked(UserTokenForm, dict(fields))
        user: UserName = of_user.user
        return await create_token(
            ledger,
            name=of_user.name,
            user_id=await find_user(ledger, user),
            lifetime=_lifetime(of_user.lifetime_days),
            actor=actor,
        )
    ticked = [name.removeprefix("scope ") for name in fields if name.startswith("scope ")]
    others = {name: value for name, value in fields.items() if not name.startswith("scope ")}
    form = checked(ServiceTokenForm, {**others, "scopes": ticked})
    return await create_token(
        ledger, name=form.name, scopes=form.scopes, lifetime=_lifetime(form.lifetime_days), actor=actor
    )


def _new_form(
    request: Request,
    holder: str,
    fields: Mapping[str, str],
    *,
    errors: Mapping[str, str] | None = None,
    status_code: int = 200,
) -> Response:
    return page(
        request,
        "tokens_form.html",
        status_code=status_code,
        holder=holder,
        fields={name: fields.get(name, "") for name in ("user", "name", "lifetime_days")},
        scopes=_SCOPES,
        ticked={name.removeprefix("scope ") for name in fields if name.startswith("scope ")},
        errors=errors or {},
        lifetime_max=LIFETIME_DAYS_MAX,
    )


def _rotate_form(
    request: Request, token: TokenRow, fields: Mapping[str, str], *, error: GroatError | None = None
) -> Response:
    errors, problem = ({}, None) if error is None else faults(error)
    return page(
        request,
        "tokens_rotate.html",
        status_code=200 if error is None else error.status,
        token=token,
        fields={name: fields.get(name, "") for name in ("grace_hours", "lifetime_days")},
        errors=errors,
        problem=problem,
        grace_max=GRACE_HOURS_MAX,
        lifetime_max=LIFETIME_DAYS_MAX,
    )


async def _token(ledger: Ledger, token_id: int) -> TokenRow:
    for token in await list_tokens(ledger, token_id=token_id):
        return token
    raise NotFound("There is no such token.", code="unknown_token")


def _state(row: TokenRow, now: datetime) -> str:
    """Return what a token is at present, in words."""
    if row.revoked_at is not None:
        return "revoked"
    return "works" if row.expires_at is None or row.expires_at > now else "expired"


def _ends_soon(row: TokenRow) -> bool:
    return row.expires_in_days is not None and row.expires_in_days <= WARN_DAYS


def _lifetime(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)
