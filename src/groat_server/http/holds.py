"""Holds over HTTP: credits set aside before a use, then captured by its charge, or released."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path
from pydantic import AfterValidator, model_validator

from groat_server.core.holds import HOLD_NAME_PATTERN, SECONDS_DEFAULT, HoldName, read_hold_name
from groat_server.core.outcomes import OperationOutcome, Outcome
from groat_server.core.pricing import Unpriceable
from groat_server.core.scopes import Scope
from groat_server.core.usage import Usage
from groat_server.errors import BadRequest, Conflict, InsufficientCredits, NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.dependencies import CallerOf, GaugesOf, LedgerOf, protected_router
from groat_server.http.json import JSON
from groat_server.http.keys import IdempotencyKey, keyed, one_key
from groat_server.http.ledger_shapes import CaptureShape, HoldDetailsShape, HoldShape, UntrackedHoldShape
from groat_server.http.ledger_shaping import (
    capture_shape,
    hold_details_shape,
    hold_shape,
    operation_refusal,
    placement_shape,
)
from groat_server.http.problems import problem_responses
from groat_server.http.shapes import UntrackedShape
from groat_server.http.usage import Use, check_rights, priced_fields
from groat_server.operations import holds as operations
from groat_server.operations.users import find_users_to_charge

router = protected_router("/api/v1/holds", Scope.USAGE_WRITE, tags=["holds"])


class HoldRequest(types.Body):
    """Credits to set aside: so many (`amount`), or what a use can cost at most.

    The use is priced as it will be charged, with every token at the dearest rate that may apply, and no discount for
    cached ones. With an `amount`, what is said of the use is only noted.
    """

    user: types.User
    amount: types.HeldCredits | None = None
    action_type: types.ActionType | None = None
    model: types.Model | None = None
    provider: types.Provider | None = None
    input_tokens: types.Tokens = 0
    max_output_tokens: types.Tokens = 0
    quantity: types.Quantity | None = None
    ttl_seconds: types.HoldSeconds = SECONDS_DEFAULT
    description: types.Description | None = None
    idempotency_key: types.Key | None = None

    @model_validator(mode="after")
    def _says_how_much(self) -> HoldRequest:
        if self.amount is None and self.action_type is None:
            raise ValueError("needs either an amount or an action_type")
        return self


class CaptureRequest(Use):
    """The use that a hold was for, as it came out."""

    description: types.Description | None = None
    session_id: types.SessionId | None = None
    metadata: types.Metadata | None = None
    idempotency_key: types.Key | None = None


class RenewalRequest(types.Body):
    """How long a hold is to last from now on."""

    ttl_seconds: types.HoldSeconds = SECONDS_DEFAULT


def _checked(text: str) -> str:
    return str(read_hold_name(text))


def _hold_named(
    hold_id: Annotated[
        str, Path(description="A hold's id.", pattern=f"^{HOLD_NAME_PATTERN}$", max_length=44), AfterValidator(_checked)
    ],
) -> HoldName:
    return read_hold_name(hold_id)


NamedHold = Annotated[HoldName, Depends(_hold_named)]


@router.post(
    "",
    status_code=201,
    response_model=HoldShape,
    responses={
        200: {"description": "Placed before, or not tracked.", "model": HoldShape | UntrackedHoldShape},
        **problem_responses(BadRequest, InsufficientCredits, NotFound, Conflict),
    },
)
async def place_hold(body: HoldRequest, ledger: LedgerOf, idempotency_key: IdempotencyKey = None) -> JSON:
    """Set credits of a user aside, once under the key; refused where they are not available."""
    key = one_key(idempotency_key, body.idempotency_key)
    (user_id,) = await find_users_to_charge(ledger, [body.user])
    if user_id is None:
        raise operation_refusal(OperationOutcome.UNKNOWN_USER)
    placement = await operations.place_hold(ledger, new_hold(body, user_id, key))
    if isinstance(placement, Unpriceable):
        raise Unprocessable(placement.detail, code=placement.code)
    is_done = placement.outcome is not OperationOutcome.UNTRACKED
    return keyed(placement_shape(placement), is_done=is_done)


@router.get("/{hold_id}", response_model=HoldDetailsShape, responses=problem_responses(NotFound))
async def show_hold(hold: NamedHold, ledger: LedgerOf) -> JSON:
    """Show a hold as of now."""
    return JSON(hold_details_shape(await operations.show_hold(ledger, hold)))


@router.post(
    "/{hold_id}/capture",
    status_code=201,
    response_model=CaptureShape,
    responses={
        200: {"description": "Captured before, or not tracked.", "model": CaptureShape | UntrackedShape},
        **problem_responses(BadRequest, NotFound, Conflict),
    },
)
async def capture_hold(
    hold: NamedHold,
    body: CaptureRequest,
    *,
    ledger: LedgerOf,
    caller: CallerOf,
    gauges: GaugesOf,
    idempotency_key: IdempotencyKey = None,
) -> JSON:
    """Charge a use to its hold, in full, and free the rest; also where the hold was too small or has ended."""
    key = one_key(idempotency_key, body.idempotency_key)
    check_rights(body, caller)
    capture = await operations.capture_hold(ledger, captured_usage(body, hold, key))
    gauges.count([capture.receipt.outcome])
    return keyed(capture_shape(capture), is_done=capture.receipt.outcome is Outcome.RECORDED)


@router.post("/{hold_id}/release", response_model=HoldShape, responses=problem_responses(NotFound, Conflict))
async def release_hold(hold: NamedHold, ledger: LedgerOf) -> JSON:
    """Let a hold go; what it set aside is available again. One that has ended already is answered the same."""
    return JSON(hold_shape(hold.user_id, await operations.release_hold(ledger, hold)))


@router.post("/{hold_id}/renew", response_model=HoldShape, responses=problem_responses(NotFound, Conflict))
async def renew_hold(hold: NamedHold, body: RenewalRequest, ledger: LedgerOf) -> JSON:
    """Let an open hold last `ttl_seconds` from now, where that is longer; seven days in all."""
    return JSON(hold_shape(hold.user_id, await operations.renew_hold(ledger, hold, seconds=body.ttl_seconds)))


def new_hold(body: HoldRequest, user_id: int, key: str) -> operations.NewHold:
    """Return the hold that a request asks for, of the user it was found to name."""
    asked = body.model_dump(exclude={"user", "ttl_seconds", "idempotency_key"})
    return operations.NewHold(user_id=user_id, idempotency_key=key, seconds=body.ttl_seconds, **asked)


def captured_usage(body: CaptureRequest, hold: HoldName, key: str) -> Usage:
    """Return the usage that a capture reports."""
    return Usage(
        user_id=hold.user_id,
        idempotency_key=key,
        hold_id=hold.hold_id,
        description=body.description,
        session_id=body.session_id,
        metadata=body.metadata,
        **priced_fields(body),
    )
