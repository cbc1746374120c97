"""Charging over HTTP: one charge, a batch, an estimate."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, WithJsonSchema, model_validator

from groat_server.core.outcomes import DETAILS, Outcome
from groat_server.core.pricing import Unpriceable
from groat_server.core.scopes import Scope
from groat_server.core.usage import Usage
from groat_server.errors import BadRequest, Conflict, Forbidden, InsufficientCredits, NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, GaugesOf, LedgerOf, protected_router
from groat_server.http.json import JSON
from groat_server.http.keys import IdempotencyKey, keyed, one_key
from groat_server.http.problems import field_errors, problem_responses
from groat_server.http.shapes import BatchShape, EstimateShape, ReceiptShape, UntrackedShape
from groat_server.http.shaping import price_shape, receipt_shape, refusal
from groat_server.operations import usage as operations
from groat_server.operations.users import find_users_to_charge

if TYPE_CHECKING:
    from groat_server.operations.tokens import Caller

BATCH_BYTES_MAX = 5 * 2**20

router = protected_router("/api/v1", Scope.USAGE_WRITE, tags=["usage"])
batches = protected_router("/api/v1", Scope.USAGE_WRITE, body_bytes_max=BATCH_BYTES_MAX, tags=["usage"])
estimates = protected_router("/api/v1", None, tags=["usage"])


class Use(types.Body):
    """One use of AI. `input_tokens` includes cached tokens; the cache and reasoning counts are parts of the totals."""

    action_type: types.ActionType
    model: types.Model | None = None
    provider: types.Provider | None = None
    input_tokens: types.Tokens = 0
    output_tokens: types.Tokens = 0
    cache_read_tokens: types.Tokens = 0
    cache_write_tokens: types.Tokens = 0
    reasoning_tokens: types.Tokens = 0
    quantity: types.Quantity | None = None
    api_cost: types.ApiCost | None = None
    occurred_at: types.Instant | None = None

    @model_validator(mode="after")
    def _parts_within_their_whole(self) -> Use:
        if self.cache_read_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError("cache_read_tokens and cache_write_tokens are parts of input_tokens")
        if self.reasoning_tokens > self.output_tokens:
            raise ValueError("reasoning_tokens is a part of output_tokens")
        return self


class UsageRequest(Use):
    """One use of AI to charge to a user."""

    user: types.User
    description: types.Description | None = None
    session_id: types.SessionId | None = None
    metadata: types.Metadata | None = None
    mode: Literal["record", "enforce"] = "record"
    backfill: types.Flag = False
    idempotency_key: types.Key | None = None


class EstimateRequest(Use):
    """One use of AI to price."""

    user: types.User | None = None


_UsageItem = Annotated[Any, WithJsonSchema({"$ref": "#/components/schemas/UsageRequest"})]


class BatchRequest(types.Body):
    """Up to 1,000 charges, each with its own idempotency key."""

    events: Annotated[list[_UsageItem], Field(min_length=1, max_length=operations.BATCH_MAX)]


@router.post(
    "/usage",
    status_code=201,
    response_model=ReceiptShape,
    responses={
        200: {"description": "Charged before, or not tracked.", "model": ReceiptShape | UntrackedShape},
        **problem_responses(BadRequest, InsufficientCredits, NotFound, Conflict),
    },
)
async def charge(
    body: UsageRequest, ledger: LedgerOf, caller: CallerOf, gauges: GaugesOf, idempotency_key: IdempotencyKey = None
) -> JSON:
    """Charge one use of AI to a user, once under its key."""
    key = one_key(idempotency_key, body.idempotency_key)
    check_rights(body, caller)
    (user_id,) = await find_users_to_charge(ledger, [body.user])
    (receipt,) = await operations.charge(ledger, [usage_of(body, user_id, key)])
    gauges.count([receipt.outcome])
    return keyed(receipt_shape(receipt), is_done=receipt.outcome is Outcome.RECORDED)


@batches.post("/usage/batch", response_model=BatchShape, responses=problem_responses())
async def charge_batch(body: BatchRequest, ledger: LedgerOf, caller: CallerOf, gauges: GaugesOf) -> JSON:
    """Charge up to 1,000 uses, in order; each has an outcome of its own, and none fails another."""
    items = [_read_item(item, caller) for item in body.events]
    valid = [item for item in items if isinstance(item, UsageRequest)]
    user_ids = await find_users_to_charge(ledger, [item.user for item in valid]) if valid else []
    usages = [
        usage_of(item, user_id, item.idempotency_key or "") for item, user_id in zip(valid, user_ids, strict=True)
    ]
    receipts = iter(await operations.charge(ledger, usages) if usages else [])
    results = [
        {"index": index, **(item if isinstance(item, dict) else result_of(next(receipts)))}
        for index, item in enumerate(items)
    ]
    outcomes = [Outcome(result["outcome"]) for result in results]
    gauges.count(outcomes)
    return JSON(
        BatchShape(
            results=results,
            recorded=outcomes.count(Outcome.RECORDED),
            replayed=outcomes.count(Outcome.REPLAYED),
            untracked=outcomes.count(Outcome.UNTRACKED),
            refused=sum(outcome.is_refusal for outcome in outcomes),
        )
    )


@estimates.post("/estimate", response_model=EstimateShape, responses=problem_responses())
async def estimate(body: EstimateRequest, ledger: LedgerOf) -> JSON:
    """Price one use of AI by the prices of now, or of when it occurred; nothing is stored."""
    usage = Usage(user_id=None, idempotency_key="", **priced_fields(body))
    quote = await operations.estimate(ledger, usage)
    if isinstance(quote, Unpriceable):
        raise Unprocessable(quote.detail, code=quote.code)
    price = price_shape(quote.charge, quote.version, body.model)
    return JSON(EstimateShape(quote.charge.credits_charged, quote.charge.api_cost, price))


def check_rights(body: Use, caller: Caller) -> None:
    """Raise Forbidden where the caller may not say what the body says."""
    if body.api_cost is not None:
        caller.require(Scope.USAGE_PRICE)
    if isinstance(body, UsageRequest) and body.backfill:
        caller.require(Scope.ADMIN)


def _read_item(item: object, caller: Caller) -> UsageRequest | dict[str, Any]:
    """Return an item of a batch, or the result that refuses it."""
    try:
        body = UsageRequest.model_validate(item)
        check_rights(body, caller)
    except ValidationError as error:
        return _refused(Outcome.INVALID, errors=field_errors(error.errors()))
    except Forbidden as error:
        return _refused(Outcome.INVALID, errors=[{"field": "", "message": error.detail}])
    if body.idempotency_key is None:
        return _refused(Outcome.INVALID, errors=[{"field": "idempotency_key", "message": "Field required"}])
    return body


def _refused(outcome: Outcome, **members: object) -> dict[str, Any]:
    return {"outcome": outcome.value, "detail": DETAILS[outcome], **members}


def result_of(receipt: operations.Receipt) -> dict[str, Any]:
    """Return what the answer to a batch says of one charge."""
    if receipt.outcome.is_refusal:
        return _refused(receipt.outcome, **refusal(receipt).members)
    answer = receipt_shape(receipt)
    return {field.name: getattr(answer, field.name) for field in fields(answer)}


def usage_of(body: UsageRequest, user_id: int | None, key: str) -> Usage:
    """Return the usage that a request reports, of the user it was found to name."""
    usage = Usage(user_id=user_id, idempotency_key=key, **priced_fields(body))
    return replace(
        usage,
        description=body.description,
        session_id=body.session_id,
        metadata=body.metadata,
        enforce=body.mode == "enforce",
        backfill=body.backfill,
    )


def priced_fields(body: Use) -> dict[str, Any]:
    """Return what of a request decides its price."""
    return {name: getattr(body, name) for name in Use.model_fields}
