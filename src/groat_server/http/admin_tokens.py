"""Administration of access tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Path
from pydantic import BeforeValidator, Field, Strict

from groat_server.core.scopes import Scope
from groat_server.errors import NotFound
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, LedgerOf, NamedUser, protected_router
from groat_server.http.json import JSON
from groat_server.http.problems import problem_responses
from groat_server.http.shapes import NewTokenShape, TokenListShape, TokenShape
from groat_server.http.shaping import shaped
from groat_server.operations import tokens as operations
from groat_server.operations.users import find_user

LIFETIME_DAYS_MAX = 3650
GRACE_HOURS_MAX = 24 * 30

router = protected_router("/api/v1/admin", Scope.ADMIN, tags=["administration"], responses=problem_responses())

_Lifetime = Annotated[int, Strict(), Field(ge=1, le=LIFETIME_DAYS_MAX)]


class NewToken(types.Body):
    """A token to make. `lifetime_days` absent: until it is revoked."""

    name: types.TokenName = "token"
    lifetime_days: _Lifetime | None = None


def _scope(value: object) -> Scope:
    if not isinstance(value, str) or value not in set(Scope):
        raise ValueError(f"must be one of {', '.join(Scope)}")
    return Scope(value)


class NewServiceToken(NewToken):
    """A service's token to make, with what it may do."""

    name: types.TokenName
    scopes: Annotated[list[Annotated[Scope, BeforeValidator(_scope)]], Field(min_length=1, max_length=len(Scope))]


class Rotation(types.Body):
    """How long the old token works beside the new one, and how long the new one does; absent: as long as the old."""

    grace_hours: Annotated[int, Strict(), Field(ge=0, le=GRACE_HOURS_MAX)] = operations.GRACE_HOURS
    lifetime_days: _Lifetime | None = None


TokenId = Annotated[types.Id, Path(description="A token's id.")]


@router.post(
    "/users/{user}/tokens", status_code=201, response_model=NewTokenShape, responses=problem_responses(NotFound)
)
async def create_user_token(user: NamedUser, body: NewToken, ledger: LedgerOf, caller: CallerOf) -> JSON:
    """Make a token with a user's own rights. It is shown in this answer only."""
    made = await operations.create_token(
        ledger,
        name=body.name,
        user_id=await find_user(ledger, user),
        lifetime=_lifetime(body.lifetime_days),
        actor=caller.actor,
    )
    return _shown(made)


@router.post("/tokens", status_code=201, response_model=NewTokenShape)
async def create_service_token(body: NewServiceToken, ledger: LedgerOf, caller: CallerOf) -> JSON:
    """Make a token for a service, with scopes. It is shown in this answer only."""
    made = await operations.create_token(
        ledger, name=body.name, scopes=body.scopes, lifetime=_lifetime(body.lifetime_days), actor=caller.actor
    )
    return _shown(made)


@router.get("/tokens", response_model=TokenListShape)
async def list_tokens(ledger: LedgerOf) -> JSON:
    """List the newest 100 tokens; `expires_in_days` tells which are about to end."""
    rows = await operations.list_tokens(ledger)
    return JSON(TokenListShape([shaped(TokenShape, row) for row in rows], len(rows)))


@router.post(
    "/tokens/{token_id}/rotate", status_code=201, response_model=NewTokenShape, responses=problem_responses(NotFound)
)
async def rotate_token(token_id: TokenId, body: Rotation, ledger: LedgerOf, caller: CallerOf) -> JSON:
    """Make a token in place of another, which works for some hours more. It is shown in this answer only."""
    made = await operations.rotate_token(
        ledger, token_id, grace_hours=body.grace_hours, lifetime_days=body.lifetime_days, actor=caller.actor
    )
    return _shown(made)


@router.delete("/tokens/{token_id}", status_code=204, response_model=None, responses=problem_responses(NotFound))
async def revoke_token(token_id: TokenId, ledger: LedgerOf, caller: CallerOf) -> None:
    """Take a token away, from the next request on."""
    await operations.revoke_token(ledger, token_id, actor=caller.actor)


def _lifetime(days: int | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _shown(made: operations.NewToken) -> JSON:
    return JSON(NewTokenShape(made.token, shaped(TokenShape, made.row)), status_code=201)
