"""Administration of users and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BeforeValidator, Field, Strict, model_validator

from groat_server.core.scopes import Scope
from groat_server.errors import Conflict, NotFound
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, LedgerOf, NamedUser, protected_router
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.shapes import NewTokenShape, TokenListShape, TokenShape, UserListShape, UserShape
from groat_server.http.shaping import read_cursor, shaped, user_shape, write_cursor
from groat_server.operations import tokens
from groat_server.operations import users as operations

LIFETIME_DAYS_MAX = 3650

router = protected_router("/api/v1/admin", Scope.ADMIN, tags=["administration"], responses=problem_responses())
balances = protected_router("/api/v1/admin", Scope.BALANCE_READ, tags=["administration"])


class NewUser(types.Body):
    """A user to create. `monthly_allowance` in credits; absent, the ledger's default."""

    email: types.Email
    full_name: types.FullName | None = None
    external_id: types.NewExternalId | None = None
    demo_mode: types.Flag = False
    is_admin: types.Flag = False
    monthly_allowance: types.Allowance | None = None
    time_zone: types.TimeZone = "UTC"


class UserChange(types.Body):
    """What to change of a user; a field that is absent stays as it is.

    `monthly_allowance` (credits) counts from the next period on; with `effective` "now", what it exceeds this period's
    allowance by is granted at once. `time_zone` counts from the next period on.
    """

    email: types.Email | None = None
    full_name: types.FullName | None = None
    demo_mode: types.Flag | None = None
    is_admin: types.Flag | None = None
    time_zone: types.TimeZone | None = None
    monthly_allowance: types.Allowance | None = None
    effective: Literal["next_period", "now"] = "next_period"

    @model_validator(mode="after")
    def _changes_something(self) -> UserChange:
        if not self.model_fields_set - {"effective"}:
            raise ValueError("names nothing to change")
        return self


class UserPage(types.Body):
    """Which users: those whose e-mail or name contains `search`, in order of their ids."""

    limit: types.Limit = 50
    search: types.Search | None = None
    cursor: types.Cursor | None = None


class NewToken(types.Body):
    """A token to make. `lifetime_days` absent: until it is revoked."""

    name: types.TokenName = "token"
    lifetime_days: Annotated[int, Strict(), Field(ge=1, le=LIFETIME_DAYS_MAX)] | None = None


def _scope(value: object) -> Scope:
    if not isinstance(value, str) or value not in set(Scope):
        raise ValueError(f"must be one of {', '.join(Scope)}")
    return Scope(value)


class NewServiceToken(NewToken):
    """A service's token to make, with what it may do."""

    name: types.TokenName
    scopes: Annotated[list[Annotated[Scope, BeforeValidator(_scope)]], Field(min_length=1, max_length=len(Scope))]


TokenId = Annotated[types.Id, Path(description="A token's id.")]


@router.post("/users", status_code=201, response_model=UserShape, responses=problem_responses(Conflict))
async def create_user(body: NewUser, ledger: LedgerOf) -> JSON:
    """Create a user; outside demo mode the balance opens with the period's allowance."""
    row = await operations.create_user(ledger, **body.model_dump())
    return JSON(user_shape(row), status_code=201)


@router.get("/users", response_model=UserListShape)
async def list_users(query: Annotated[UserPage, Query()], ledger: LedgerOf) -> JSON:
    """List users."""
    (after,) = read_cursor(query.cursor, int) if query.cursor else (0,)
    rows = await operations.list_users(ledger, after=after, limit=query.limit, search=query.search)
    next_cursor = write_cursor(rows[-1].id) if len(rows) == query.limit else None
    return JSON(UserListShape([user_shape(row) for row in rows], len(rows), next_cursor))


@balances.get("/users/{user}", response_model=UserShape, responses=problem_responses(NotFound))
async def show_user(user: NamedUser, ledger: LedgerOf) -> JSON:
    """Show a user with the balance as of now."""
    return JSON(user_shape(await operations.show_user(ledger, await operations.find_user(ledger, user))))


@router.patch("/users/{user}", response_model=UserShape, responses=problem_responses(NotFound, Conflict))
async def update_user(user: NamedUser, body: UserChange, ledger: LedgerOf, caller: CallerOf) -> JSON:
    """Change a user: name, address, flags, time zone, allowance."""
    user_id = await operations.find_user(ledger, user)
    changes = body.model_dump(exclude={"monthly_allowance", "effective"})
    allowance = None
    if body.monthly_allowance is not None:
        allowance = operations.AllowanceChange(
            allowance=body.monthly_allowance, grant_now=body.effective == "now", actor=caller.actor
        )
    await operations.update_user(ledger, user_id, **changes, allowance=allowance)
    return JSON(user_shape(await operations.show_user(ledger, user_id)))


@router.post(
    "/users/{user}/tokens", status_code=201, response_model=NewTokenShape, responses=problem_responses(NotFound)
)
async def create_user_token(user: NamedUser, body: NewToken, ledger: LedgerOf) -> JSON:
    """Make a token with a user's own rights. It is shown in this answer only."""
    user_id = await operations.find_user(ledger, user)
    return await _created(ledger, body, user_id=user_id)


@router.post("/tokens", status_code=201, response_model=NewTokenShape)
async def create_service_token(body: NewServiceToken, ledger: LedgerOf) -> JSON:
    """Make a token for a service, with scopes. It is shown in this answer only."""
    return await _created(ledger, body, scopes=body.scopes)


@router.get("/tokens", response_model=TokenListShape)
async def list_tokens(ledger: LedgerOf) -> JSON:
    """List the newest 100 tokens."""
    rows = await tokens.list_tokens(ledger)
    return JSON(TokenListShape([shaped(TokenShape, row) for row in rows], len(rows)))


@router.delete("/tokens/{token_id}", status_code=204, response_model=None, responses=problem_responses(NotFound))
async def revoke_token(token_id: TokenId, ledger: LedgerOf) -> None:
    """Take a token away, from the next request on."""
    await tokens.revoke_token(ledger, token_id)


async def _created(
    ledger: LedgerOf, body: NewToken, *, user_id: int | None = None, scopes: list[Scope] | None = None
) -> JSON:
    lifetime = None if body.lifetime_days is None else timedelta(days=body.lifetime_days)
    made = await tokens.create_token(ledger, name=body.name, user_id=user_id, scopes=scopes or (), lifetime=lifetime)
    return JSON(NewTokenShape(made.token, shaped(TokenShape, made.row)), status_code=201)
