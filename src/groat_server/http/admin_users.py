"""Administration of users."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import Field, Strict, field_validator, model_validator

from groat_server.core.scopes import Scope
from groat_server.core.values import ID_MAX
from groat_server.errors import BadRequest, Conflict, NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, LedgerOf, NamedUser, protected_router
from groat_server.http.json import JSON
from groat_server.http.keys import IdempotencyKey, one_key
from groat_server.http.problems import problem_responses
from groat_server.http.shapes import UserListShape, UserShape
from groat_server.http.shaping import read_cursor, user_shape, write_cursor
from groat_server.operations import users as operations

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
    """What to change of a user; a field that is absent stays as it is. Amounts are credits.

    `monthly_allowance` counts from the next period on; with `effective` "now", what it exceeds this period's allowance
    by is granted at once, under an idempotency key. So do `time_zone` and `period_anchor`, on whose monthly
    anniversaries periods begin. `overdraft_limit` is how far below zero the user may go, `rollover_cap` how much of an
    unused allowance is kept for one more period; both count at once.
    """

    email: types.Email | None = None
    full_name: types.FullName | None = None
    demo_mode: types.Flag | None = None
    is_admin: types.Flag | None = None
    time_zone: types.TimeZone | None = None
    period_anchor: types.Instant | None = None
    monthly_allowance: types.Allowance | None = None
    overdraft_limit: types.Allowance | None = None
    rollover_cap: types.Allowance | None = None
    effective: Literal["next_period", "now"] = "next_period"
    idempotency_key: types.Key | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> UserChange:
        if not self.model_fields_set - {"effective", "idempotency_key"}:
            raise ValueError("names nothing to change")
        return self

    @field_validator("period_anchor")
    @classmethod
    def _has_come(cls, anchor: datetime | None) -> datetime | None:
        if anchor is not None and anchor > datetime.now(UTC):
            raise ValueError("must not lie in the future")
        return anchor

    def terms(self, header: str | None) -> operations.Terms | None:
        """Return what of the terms is to change. Raises BadRequest where credits would move without a key."""
        grant_now = self.effective == "now" and self.monthly_allowance is not None
        key = one_key(header, self.idempotency_key) if grant_now else None
        given = (self.monthly_allowance, self.overdraft_limit, self.rollover_cap)
        if all(term is None for term in given):
            return None
        allowance, overdraft_limit, rollover_cap = given
        return operations.Terms(
            allowance=allowance,
            overdraft_limit=overdraft_limit,
            rollover_cap=rollover_cap,
            grant_now=grant_now,
            key=key,
        )


class Anonymisation(types.Body):
    """That this cannot be undone is confirmed with the user's id."""

    confirm: Annotated[int, Strict(), Field(ge=1, le=ID_MAX)]


class UserPage(types.Body):
    """Which users: those whose e-mail or name contains `search`, in order of their ids."""

    limit: types.Limit = 50
    search: types.Search | None = None
    cursor: types.Cursor | None = None


@router.post("/users", status_code=201, response_model=UserShape, responses=problem_responses(Conflict))
async def create_user(body: NewUser, ledger: LedgerOf, caller: CallerOf) -> JSON:
    """Create a user; outside demo mode the balance opens with the period's allowance."""
    row = await operations.create_user(ledger, **body.model_dump(), actor=caller.actor)
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


@router.patch("/users/{user}", response_model=UserShape, responses=problem_responses(BadRequest, NotFound, Conflict))
async def update_user(
    user: NamedUser, body: UserChange, ledger: LedgerOf, caller: CallerOf, idempotency_key: IdempotencyKey = None
) -> JSON:
    """Change a user: name, address, flags, time zone, terms."""
    terms = body.terms(idempotency_key)
    user_id = await operations.find_user(ledger, user)
    changes = body.model_dump(
        include={"email", "full_name", "demo_mode", "is_admin", "time_zone", "period_anchor"}, exclude_none=True
    )
    replayed = await operations.update_user(ledger, user_id, **changes, terms=terms, actor=caller.actor)
    headers = {"Idempotent-Replayed": "true"} if replayed else None
    return JSON(user_shape(await operations.show_user(ledger, user_id)), headers=headers)


@router.post("/users/{user}/anonymise", response_model=UserShape, responses=problem_responses(NotFound, Conflict))
async def anonymise_user(user: NamedUser, body: Anonymisation, ledger: LedgerOf, caller: CallerOf) -> JSON:
    """Take out who a user was, for ever: address, name, descriptions, metadata, tokens. Amounts and totals stay."""
    user_id = await operations.find_user(ledger, user)
    if body.confirm != user_id:
        raise Unprocessable("`confirm` is not this user's id.", code="not_confirmed")
    await operations.anonymise_user(ledger, user_id, actor=caller.actor)
    return JSON(user_shape(await operations.show_user(ledger, user_id)))
