"""The hot routes, as plain ASGI in front of the application."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from starlette.requests import Request

from groat_server.core.holds import HoldName, read_hold_name
from groat_server.core.outcomes import OperationOutcome, Outcome
from groat_server.core.pricing import Unpriceable
from groat_server.core.scopes import Scope as Right
from groat_server.errors import Unauthorized, Unprocessable
from groat_server.http.dependencies import BODY_BYTES_MAX
from groat_server.http.hot.reading import read_batch, read_capture, read_hold, read_key, read_usage
from groat_server.http.hot.writing import ReceiptWriter
from groat_server.http.json import encode
from groat_server.http.ledger_shaping import capture_shape, operation_refusal, placement_shape
from groat_server.http.middleware import FAILED, SAFE_HEADERS, log_request, request_id_of
from groat_server.http.problems import answer_to
from groat_server.http.shaping import refusal
from groat_server.http.usage import BATCH_BYTES_MAX
from groat_server.operations.batching import Bearer, StaleBearer
from groat_server.operations.holds import capture_hold, place_hold
from groat_server.operations.tokens import Caller, RecentCallers, authenticate
from groat_server.operations.users import find_users_to_charge

if TYPE_CHECKING:
    from starlette.datastructures import State
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from groat_server.core.usage import Usage
    from groat_server.http.metrics import Gauges
    from groat_server.operations.ledger import Ledger

_BEARER = b"Bearer "
_OURS = b"groat_"
_HOLDS, _CAPTURE = "/api/v1/holds/", "/capture"
_MEDIA_TYPES = {b"application/json", b"application/json; charset=utf-8"}
_LENGTH_DIGITS_MAX = 8
_SAFE_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SAFE_HEADERS.items()]
_HEADERS = [(b"content-type", b"application/json"), *_SAFE_HEADERS]
_REPLAYED_HEADERS = [(b"idempotent-replayed", b"true"), *_HEADERS]
_OK, _CREATED = 200, 201

_Headers = list[tuple[bytes, bytes]]
_Answer = tuple[int, _Headers, bytes]
"""A status, headers (but those that every answer has) and a body."""

_bearer = lru_cache(1024)(Bearer)


@dataclass(slots=True)
class _Asked:
    """A request in the usual form of somebody who may make it. `key` is the header's, `hold` the path's."""

    ledger: Ledger
    token: bytes
    caller: Caller
    body: bytes
    key: str | None
    hold: HoldName | None

    @property
    def bearer(self) -> Bearer:
        """By what the caller's rights were judged."""
        return _bearer(cast("int", self.caller.token_id), self.caller.is_admin)

    def may_report(self, usage: Usage) -> bool:
        """Whether the caller may say what the usage says."""
        return (usage.api_cost is None or self.caller.may(Right.USAGE_PRICE)) and (
            not usage.backfill or self.caller.may(Right.ADMIN)
        )


@dataclass(slots=True)
class _Route:
    """A route: as the OpenAPI document calls it, how much it reads, and how it serves. None: the application is to."""

    path: str
    bytes_max: int
    serve: Callable[[_Asked], Awaitable[_Answer | None]]


class HotRoutes:
    """Serves what is surely right on the hot routes; `app`, whose state has the ledger, serves everything else."""

    def __init__(self, app: ASGIApp, state: State, gauges: Gauges) -> None:
        self.app = app
        self._state = state
        self._callers = RecentCallers()
        self._receipts = ReceiptWriter()
        self._charges = {outcome: gauges.charges.labels(outcome.value) for outcome in Outcome}
        self._requests = {hundreds: gauges.requests.labels(f"{hundreds}xx") for hundreds in range(2, 6)}
        self._capture = _Route("/api/v1/holds/{hold_id}/capture", BODY_BYTES_MAX, self._capture_hold)
        routes = (
            _Route("/api/v1/usage", BODY_BYTES_MAX, self._charge),
            _Route("/api/v1/usage/batch", BATCH_BYTES_MAX, self._charge_batch),
            _Route("/api/v1/holds", BODY_BYTES_MAX, self._place_hold),
        )
        self._routes = {route.path: route for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or let the application serve it."""
        route = None
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            route = self._routes.get(path) or (self._capture if path.endswith(_CAPTURE) else None)
        if route is None:
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        taken: deque[Message] = deque()
        asked = await self._asked(route, scope, receive, taken)
        answer = None if asked is None else await self._answer(route, asked, scope)
        if answer is None:
            await self.app(scope, _again(taken, receive), send)
            return
        status, headers, body = answer
        told = [(b"x-request-id", scope["request_id"].encode()), (b"content-length", b"%d" % len(body)), *headers]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": body})
        seconds = time.perf_counter() - began
        self._requests[status // 100].observe(seconds)
        if status >= FAILED:
            log_request(scope, route.path, status, seconds)

    async def _asked(self, route: _Route, scope: Scope, receive: Receive, taken: deque[Message]) -> _Asked | None:
        """Return what is asked for; None where the request is wrong or unusual. What was read of its body is `taken`.

        Nothing of the body is read before it is known who sends it.
        """
        headers: dict[bytes, bytes] = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"")
        if (
            len(headers) != len(scope["headers"])
            or b"transfer-encoding" in headers
            or scope["query_string"]
            or headers.get(b"content-type") not in _MEDIA_TYPES
            or not _is_within(headers.get(b"content-length", b""), route.bytes_max)
            or not authorization.startswith(_BEARER)
        ):
            return None
        hold = key = None
        try:
            if route is self._capture:
                hold = read_hold_name(scope["path"].removeprefix(_HOLDS).removesuffix(_CAPTURE))
            if b"idempotency-key" in headers:
                key = read_key(headers[b"idempotency-key"].decode("latin-1"))
        except ValueError:
            return None
        token = authorization[len(_BEARER) :]
        caller = self._callers.recent(token) or await self._found(token)
        if caller is None or not caller.may(Right.USAGE_WRITE):
            return None
        body = await _body(receive, taken)
        if body is None:
            return None
        given = headers.get(b"x-request-id")
        scope["request_id"] = request_id_of(None if given is None else given.decode("latin-1"))
        return _Asked(self._state.ledger, token, caller, body, key, hold)

    async def _found(self, token: bytes) -> Caller | None:
        if not token.startswith(_OURS):
            return None
        try:
            return await self._callers.find(self._state.ledger, token)
        except Exception:  # noqa: BLE001 - the application meets the same, and answers it
            return None

    async def _answer(self, route: _Route, asked: _Asked, scope: Scope) -> _Answer | None:
        """Return what the request is answered; None where the application is to find that out."""
        try:
            return await route.serve(asked)
        except StaleBearer:
            self._callers.forget(asked.token)
            return None
        except Exception as error:  # as in the application, every error is answered  # noqa: BLE001
            problem = answer_to(Request(scope), error)
            headers = [header for header in problem.raw_headers if header[0] != b"content-length"]
            return problem.status_code, headers + _SAFE_HEADERS, bytes(problem.body)

    async def _charge(self, asked: _Asked) -> _Answer | None:
        read = read_usage(asked.body, asked.key)
        if read is None or not asked.may_report(read[0]):
            return None
        usage, user = read
        (receipt,) = await asked.ledger.batcher.charge([usage], users=[user], bearer=asked.bearer)
        self._charges[receipt.outcome].inc()
        if receipt.outcome.is_refusal:
            raise refusal(receipt)
        return _done(f"{{{self._receipts.text(receipt)}}}", receipt.outcome)

    async def _charge_batch(self, asked: _Asked) -> _Answer | None:
        read = read_batch(asked.body)
        if read is None or not all(map(asked.may_report, read[0])):
            return None
        usages, users = read
        receipts = await asked.ledger.batcher.charge(usages, users=users, bearer=asked.bearer)
        for outcome, number in Counter(receipt.outcome for receipt in receipts).items():
            self._charges[outcome].inc(number)
        return _OK, _HEADERS, self._receipts.batch_text(receipts).encode()

    async def _capture_hold(self, asked: _Asked) -> _Answer | None:
        usage = read_capture(asked.body, asked.key, cast("HoldName", asked.hold))
        if usage is None or not asked.may_report(usage):
            return None
        capture = await capture_hold(asked.ledger, usage, bearer=asked.bearer)
        outcome = capture.receipt.outcome
        self._charges[outcome].inc()
        return _done(encode(capture_shape(capture)).decode(), outcome)

    async def _place_hold(self, asked: _Asked) -> _Answer | None:
        """Place a hold. No batch says whether the caller's rights still hold, so they are asked for once more."""
        read = read_hold(asked.body, asked.key)
        if read is None:
            return None
        new_hold, user = read
        try:
            caller = await authenticate(asked.ledger, asked.token.decode("latin-1"))
        except Unauthorized:
            raise StaleBearer from None
        if not caller.may(Right.USAGE_WRITE):
            raise StaleBearer
        (user_id,) = await find_users_to_charge(asked.ledger, [user])
        if user_id is None:
            raise operation_refusal(OperationOutcome.UNKNOWN_USER)
        placement = await place_hold(asked.ledger, new_hold(user_id))
        if isinstance(placement, Unpriceable):
            raise Unprocessable(placement.detail, code=placement.code)
        shape = placement_shape(placement)
        is_new = not shape.replayed and placement.outcome is not OperationOutcome.UNTRACKED
        headers = _REPLAYED_HEADERS if shape.replayed else _HEADERS
        return _CREATED if is_new else _OK, headers, encode(shape)


def _done(text: str, outcome: Outcome) -> _Answer:
    """Return the answer to a charge that was not refused."""
    if outcome is Outcome.RECORDED:
        return _CREATED, _HEADERS, text.encode()
    return _OK, _REPLAYED_HEADERS if outcome is Outcome.REPLAYED else _HEADERS, text.encode()


def _is_within(length: bytes, bytes_max: int) -> bool:
    return length.isdigit() and len(length) <= _LENGTH_DIGITS_MAX and int(length) <= bytes_max


async def _body(receive: Receive, taken: deque[Message]) -> bytes | None:
    """Return the whole body, whose length was announced; None where the client went away."""
    more = True
    while more:
        message = await receive()
        taken.append(message)
        if message["type"] != "http.request":
            return None
        more = message.get("more_body", False)
    return b"".join([message.get("body", b"") for message in taken])


def _again(taken: deque[Message], receive: Receive) -> Receive:
    """Return a `receive` that begins with what was taken already."""

    async def receive_again() -> Message:
        return taken.popleft() if taken else await receive()

    return receive_again
