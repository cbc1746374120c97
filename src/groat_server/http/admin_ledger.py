"""The ledger by hand: grants, adjustments, refunds and voids; and what an account is made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import model_validator

from groat_server.core.scopes import Scope
from groat_server.errors import BadRequest, Conflict, NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, LedgerOf, NamedUser, protected_router
from groat_server.http.json import JSON
from groat_server.http.keys import IdempotencyKey, keyed, one_key
from groat_server.http.ledger_shapes import (
    AdjustmentShape,
    CorrectionShape,
    EntryListShape,
    EntryShape,
    ExplanationShape,
    GrantShape,
    HoldListShape,
    LotListShape,
    LotShape,
)
from groat_server.http.ledger_shaping import explanation_shape, hold_details_shape, operation_shape
from groat_server.http.problems import Responses, problem_responses
from groat_server.http.shaping import read_cursor, shaped, write_cursor
from groat_server.operations import accounts, corrections, explain, grants
from groat_server.operations.holds import list_holds
from groat_server.operations.users import find_user

router = protected_router("/api/v1/admin", Scope.GRANTS_WRITE, tags=["ledger"])
voids = protected_router("/api/v1/admin", Scope.ADMIN, tags=["ledger"])
balances = protected_router("/api/v1/admin/users", Scope.BALANCE_READ, tags=["ledger"])
explanations = protected_router("/api/v1/admin/users", Scope.REPORTS_READ, tags=["ledger"])


class GrantRequest(types.Body):
    """Credits to give. `priority`: lower is spent sooner; absent, 20 for a promotion and 50 for a purchase.

    `cost_basis` are the USD paid for each credit. With `starts_at` in the future they come then; without `expires_at`
    they never end.
    """

    user: types.User
    kind: Literal["purchase", "promotion"]
    amount: types.Credits
    priority: types.Priority | None = None
    cost_basis: types.CostBasis | None = None
    starts_at: types.Instant | None = None
    expires_at: types.Instant | None = None
    reason: types.Reason | None = None
    idempotency_key: types.Key | None = None


class AdjustmentRequest(types.Body):
    """A correction of a balance by `amount` credits, below 0 for fewer; `expires_at` is for more."""

    user: types.User
    amount: types.SignedCredits
    expires_at: types.Instant | None = None
    reason: types.Reason
    idempotency_key: types.Key | None = None

    @model_validator(mode="after")
    def _only_what_is_given_expires(self) -> AdjustmentRequest:
        if self.amount < 0 and self.expires_at is not None:
            raise ValueError("takes expires_at for an amount above 0 only")
        return self


class RefundRequest(types.Body):
    """Credits of an event to give back: so many or, without `amount`, all that is left of it."""

    user: types.User
    event_id: types.EventId
    amount: types.Credits | None = None
    reason: types.Reason
    idempotency_key: types.Key | None = None


class VoidRequest(types.Body):
    """An event that should not have been."""

    user: types.User
    event_id: types.EventId
    reason: types.Reason
    idempotency_key: types.Key | None = None


class Page(types.Body):
    """How many, and from where on."""

    limit: types.Limit = 50
    cursor: types.Cursor | None = None


class HoldPage(Page):
    """How many, from where on, and in which state."""

    state: Literal["open", "captured", "released", "expired"] | None = None


def _responses(shape: type[Any]) -> Responses:
    """Return what a route answers beside 201."""
    repeat = {"description": "Done before under this key: the first answer again.", "model": shape}
    return {200: repeat, **problem_responses(BadRequest, NotFound, Conflict)}


@router.post("/grants", status_code=201, response_model=GrantShape, responses=_responses(GrantShape))
async def grant(body: GrantRequest, ledger: LedgerOf, caller: CallerOf, idempotency_key: IdempotencyKey = None) -> JSON:
    """Give a user credits, now or from an instant on."""
    key = one_key(idempotency_key, body.idempotency_key)
    user_id = await find_user(ledger, body.user)
    row = await grants.grant_credits(ledger, grants.Grant(**told(body), user_id=user_id, key=key, actor=caller.actor))
    return keyed(operation_shape(GrantShape, row))


@router.post("/adjustments", status_code=201, response_model=AdjustmentShape, responses=_responses(AdjustmentShape))
async def adjust(
    body: AdjustmentRequest, ledger: LedgerOf, caller: CallerOf, idempotency_key: IdempotencyKey = None
) -> JSON:
    """Correct a balance by hand, for a reason."""
    key = one_key(idempotency_key, body.idempotency_key)
    user_id = await find_user(ledger, body.user)
    adjustment = grants.Adjustment(**told(body), user_id=user_id, key=key, actor=caller.actor)
    return keyed(operation_shape(AdjustmentShape, await grants.adjust_credits(ledger, adjustment)))


@router.post("/refunds", status_code=201, response_model=CorrectionShape, responses=_responses(CorrectionShape))
async def refund(
    body: RefundRequest, ledger: LedgerOf, caller: CallerOf, idempotency_key: IdempotencyKey = None
) -> JSON:
    """Give back what an event has cost, or a part of it; the event stays."""
    key = one_key(idempotency_key, body.idempotency_key)
    user_id = await find_user(ledger, body.user)
    asked = corrections.Refund(**told(body), user_id=user_id, key=key, actor=caller.actor)
    return keyed(operation_shape(CorrectionShape, await corrections.refund_event(ledger, asked)))


@voids.post("/voids", status_code=201, response_model=CorrectionShape, responses=_responses(CorrectionShape))
async def void(body: VoidRequest, ledger: LedgerOf, caller: CallerOf, idempotency_key: IdempotencyKey = None) -> JSON:
    """Take an event out of the books that should not have been, and give its credits back."""
    key = one_key(idempotency_key, body.idempotency_key)
    user_id = await find_user(ledger, body.user)
    asked = corrections.Void(**told(body), user_id=user_id, key=key, actor=caller.actor)
    return keyed(operation_shape(CorrectionShape, await corrections.void_event(ledger, asked)))


@balances.get("/{user}/lots", response_model=LotListShape, responses=problem_responses(NotFound))
async def lots(user: NamedUser, query: Annotated[Page, Query()], ledger: LedgerOf) -> JSON:
    """List a user's lots, newest first, with what is left of each as of now."""
    before_id = _place(query.cursor, "lots")
    user_id = await find_user(ledger, user)
    rows = await accounts.list_lots(ledger, user_id, before_id=before_id, limit=query.limit)
    next_cursor = write_cursor("lots", rows[-1].id) if len(rows) == query.limit else None
    return JSON(LotListShape([shaped(LotShape, row) for row in rows], len(rows), next_cursor))


@balances.get("/{user}/ledger", response_model=EntryListShape, responses=problem_responses(NotFound))
async def entries(user: NamedUser, query: Annotated[Page, Query()], ledger: LedgerOf) -> JSON:
    """List a user's ledger entries, newest first."""
    before_version = _place(query.cursor, "entries")
    user_id = await find_user(ledger, user)
    rows = await accounts.list_entries(ledger, user_id, before_version=before_version, limit=query.limit)
    next_cursor = write_cursor("entries", rows[-1].version) if len(rows) == query.limit else None
    return JSON(EntryListShape([shaped(EntryShape, row) for row in rows], len(rows), next_cursor))


@balances.get("/{user}/holds", response_model=HoldListShape, responses=problem_responses(NotFound))
async def holds(user: NamedUser, query: Annotated[HoldPage, Query()], ledger: LedgerOf) -> JSON:
    """List a user's holds as of now, newest first."""
    before_id = _place(query.cursor, "holds")
    user_id = await find_user(ledger, user)
    rows = await list_holds(ledger, user_id, state=query.state, before_id=before_id, limit=query.limit)
    next_cursor = write_cursor("holds", rows[-1].id) if len(rows) == query.limit else None
    return JSON(HoldListShape([hold_details_shape(row) for row in rows], len(rows), next_cursor))


EventOf = Annotated[types.Id, Path(description="An event's id.")]


@explanations.get(
    "/{user}/events/{event_id}/explain", response_model=ExplanationShape, responses=problem_responses(NotFound)
)
async def explain_event(user: NamedUser, event_id: EventOf, ledger: LedgerOf) -> JSON:
    """Explain why an event was charged what it was: tokens, rates, factors, lots, and what became of it."""
    user_id = await find_user(ledger, user)
    return JSON(explanation_shape(user_id, await explain.explain_event(ledger, user_id, event_id)))


def _place(cursor: str | None, of: str) -> int | None:
    """Return where a page begins. A cursor holds for the list that it was made for."""
    if cursor is None:
        return None
    name, place = read_cursor(cursor, str, int)
    if name != of:
        raise Unprocessable("This cursor is of another list.", code="bad_cursor")
    return int(place)


def told(body: types.Body) -> dict[str, Any]:
    """Return what a request says of the act itself."""
    return body.model_dump(exclude={"user", "idempotency_key"})
