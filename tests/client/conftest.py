"""A service that answers from a script, and both clients in front of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, SupportsIndex

import httpx2
import pytest

from groat import AsyncGroat, Groat

if TYPE_CHECKING:
    from collections.abc import Mapping

RECORDED = b"""{"id": 41, "outcome": "recorded", "tracked": true, "credits_charged": 0.105,
"api_cost": 0.0105, "balance": 99.895, "available": 99.895, "overdrawn": false, "version": 1,
"replayed": false, "created_at": "2025-01-09T15:30:00.123456Z", "price": {"cost_source": "model",
"credits_per_dollar": 10, "multiplier": 1, "rates": {"input": 3, "output": 15.5}}}"""


class Script:
    """The replies to come, the requests and pauses there were, and one client to make calls with."""

    recorded = RECORDED

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.replies: list[httpx2.Response | Exception] = []
        self.requests: list[httpx2.Request] = []
        self.pauses: list[float] = []
        self.options: dict[str, Any] = {"url": "http://groat.test", "api_key": "secret"}

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Let the next attempt get this answer."""
        self.replies.append(httpx2.Response(status, content=body, headers=headers))

    def problem(self, status: int, code: str, headers: Mapping[str, str] | None = None, **members: object) -> None:
        """Let the next attempt get this problem document."""
        document = {
            "type": "about:blank",
            "title": "A problem",
            "status": status,
            "detail": "It is so.",
            "code": code,
            "request_id": "r-1",
            **members,
        }
        self.answer(status, json.dumps(document).encode(), headers)

    def fail(self, error: Exception) -> None:
        """Let the next attempt fail."""
        self.replies.append(error)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make one call with a new client; sleeping is only written down."""
        transport = httpx2.MockTransport(self._reply)
        if self.kind == "sync":
            with Groat(**self.options, transport=transport) as client:
                client._sleep = self._note  # noqa: SLF001 (no test sleeps)
                return getattr(client, method)(*args, **kwargs)
        return asyncio.run(self._call_async(transport, method, *args, **kwargs))

    async def _call_async(self, transport: httpx2.MockTransport, method: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncGroat(**self.options, transport=transport) as client:
            client._sleep = self._note_async  # type: ignore[assignment]  # noqa: SLF001 (as above)
            return await getattr(client, method)(*args, **kwargs)

    def _note(self, seconds: float | SupportsIndex) -> None:
        self.pauses.append(float(seconds))

    async def _note_async(self, seconds: float) -> None:
        self._note(seconds)

    def _reply(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def sent(self, index: int = -1) -> dict[str, Any]:
        """Read the body of a request."""
        body: dict[str, Any] = json.loads(self.requests[index].content)
        return body


@pytest.fixture(params=["sync", "async"])
def script(request: pytest.FixtureRequest) -> Script:
    """Give a script for each of the two clients."""
    return Script(request.param)
