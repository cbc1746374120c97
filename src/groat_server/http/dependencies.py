"""Who calls, what they may, and what a route works on.

A router is made with the right that all of its routes need. The right is checked before anything of the body is read,
so that nobody without it learns how a request would have been wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, Path
from fastapi.routing import APIRoute
from pydantic import AfterValidator
from starlette.exceptions import HTTPException
from starlette.requests import Request

from groat_server.core.scopes import Scope
from groat_server.errors import BadRequest, Forbidden, Unauthorized, Unprocessable, UnsupportedMediaType
from groat_server.http.json import StrictRequest
from groat_server.http.metrics import Gauges
from groat_server.http.types import user_name
from groat_server.operations.ledger import Ledger
from groat_server.operations.tokens import Caller, authenticate, authenticate_named
from groat_server.operations.users import UserName

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response
    from starlette.types import Message, Receive

    from groat_server.http.jwt import JwtVerifier

BODY_BYTES_MAX = 256 * 2**10
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def ledger_of(request: Request) -> Ledger:
    """Return the ledger that this service works on."""
    return cast("Ledger", request.app.state.ledger)


def caller_of(request: Request) -> Caller:
    """Return who calls; the route has been entered, so it is somebody."""
    return cast("Caller", request.state.caller)


def own_user_of(request: Request) -> int:
    """Return the id of the user whose token this is. Raises Forbidden for a service's token."""
    user_id = caller_of(request).user_id
    if user_id is None:
        raise Forbidden("This token belongs to a service, not to a user.")
    return user_id


def gauges_of(request: Request) -> Gauges:
    """Return the figures of this process."""
    return cast("Gauges", request.app.state.service.gauges)


LedgerOf = Annotated[Ledger, Depends(ledger_of)]
CallerOf = Annotated[Caller, Depends(caller_of)]
GaugesOf = Annotated[Gauges, Depends(gauges_of)]
OwnUser = Annotated[int, Depends(own_user_of)]


def named(text: str) -> UserName:
    """Read a user named in a path or a query, where an id is text too. Raises ValueError."""
    return user_name(int(text) if text.isascii() and text.isdigit() else text)


# FastAPI takes path parameters of simple types only; what the route gets is the name that the text stands for.
NamedUser = Annotated[str, Path(description="A user's id or e-mail address.", max_length=320), AfterValidator(named)]


class ProtectedRoute(APIRoute):
    """A route that asks for a token first, and reads its query and its body strictly, up to so many bytes."""

    scope: Scope | None = None
    body_bytes_max = BODY_BYTES_MAX

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override] # it awaits, as theirs does
        """Return the handler behind the check of the token."""
        handler = super().get_route_handler()
        takes_query = bool(self.dependant.query_params)
        takes_body = self.body_field is not None

        async def protected(request: Request) -> Response:
            request.state.caller = await _authorize(request, self.scope)
            _check_query(request, takes_query=takes_query)
            _check_keys(request)
            _check_media_type(request, takes_body=takes_body)
            return await handler(StrictRequest(request.scope, _limited(request, self.body_bytes_max)))

        return protected


def protected_router(
    prefix: str, scope: Scope | None, *, body_bytes_max: int = BODY_BYTES_MAX, **options: Any
) -> APIRouter:
    """Return a router whose routes need `scope`; None: any valid token."""

    class Route(ProtectedRoute):
        pass

    Route.scope = scope
    Route.body_bytes_max = body_bytes_max
    return APIRouter(prefix=prefix, route_class=Route, **options)


def _limited(request: Request, bytes_max: int) -> Receive:
    """Return the request's `receive`, which refuses a body of more bytes, whether or not its length is announced.

    FastAPI's own limit answers an announced one in plain text; an HTTPException becomes a problem as any other.
    """
    announced = request.headers.get("content-length", "")
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > bytes_max or (announced.isascii() and announced.isdigit() and int(announced) > bytes_max):
            raise HTTPException(413)
        return message

    return receive


def _check_query(request: Request, *, takes_query: bool) -> None:
    """Raise Unprocessable where parameters would be ignored; FastAPI sees the unknown ones of a route that has some."""
    given = request.query_params
    if given and not takes_query:
        raise Unprocessable("This route takes no query parameters.")
    if len(given.multi_items()) > len(given):
        raise Unprocessable("A query parameter is given twice.")


def _check_media_type(request: Request, *, takes_body: bool) -> None:
    """Raise UnsupportedMediaType where a body is not said to be JSON: it would be read as something else."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if takes_body and media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType("This route takes JSON: send the header `Content-Type: application/json`.")


def _check_keys(request: Request) -> None:
    """Raise BadRequest where headers name two keys, of which a route would see one."""
    if len(set(request.headers.getlist("idempotency-key"))) > 1:
        raise BadRequest("Two headers name different idempotency keys.", code="idempotency_key_mismatch")


async def _authorize(request: Request, scope: Scope | None) -> Caller:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("This route needs an `Authorization: Bearer` token.", headers=_CHALLENGE)
    try:
        caller = await _caller(request, token.strip())
    except Unauthorized as error:
        error.headers.update(_CHALLENGE)
        raise
    if scope is not None:
        caller.require(scope)
    elif caller.user_id is None and caller.scopes == {Scope.SHEETS_READ}:
        raise Forbidden("This token opens the address for spreadsheets and nothing else.")
    return caller


async def _caller(request: Request, token: str) -> Caller:
    """Find who presents this token: one of ours or, where they are taken, one of the host application's."""
    verifier: JwtVerifier | None = request.app.state.service.jwt
    if verifier is None or not verifier.takes(token):
        return await authenticate(ledger_of(request), token)
    name = await verifier.user_named_by(token)
    if verifier.user_by == "email":
        return await authenticate_named(ledger_of(request), email=name)
    return await authenticate_named(ledger_of(request), external_id=name)
