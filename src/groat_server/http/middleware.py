"""What every request passes, as plain ASGI: a request id, a log line, safe headers, a figure.

Of the hot routes' requests only those that fail have a log line; the others are counted.
"""

from __future__ import annotations

import random
import re
import time
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from groat_server.http.metrics import Gauges

_log = structlog.get_logger("groat.http")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
HOT_ROUTES = frozenset({"/api/v1/usage", "/api/v1/usage/batch", "/api/v1/holds", "/api/v1/holds/{hold_id}/capture"})
FAILED = 400


class Envelope:
    """Wraps every HTTP request. The log has the route, never the path: paths carry e-mail addresses."""

    def __init__(self, app: ASGIApp, gauges: Gauges) -> None:
        self._app = app
        self._gauges = gauges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope).get("x-request-id"))
        scope["request_id"] = request_id
        status = 500
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            self._gauges.requests.labels(f"{status // 100}xx").observe(seconds)
            log_request(scope, getattr(scope.get("route"), "path", None), status, seconds)


def request_id_of(given: str | None) -> str:
    """Return the id of a request: the caller's, where it is a harmless one, or a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(64):016x}"


def log_request(scope: Scope, route: str | None, status: int, seconds: float) -> None:
    """Write the log line of a request, where it has one."""
    if status < FAILED and route in HOT_ROUTES and scope["method"] == "POST":
        return
    _log.info(
        "request",
        method=scope["method"],
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        request_id=scope["request_id"],
    )
