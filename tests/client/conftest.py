"""A service that answers from a script, a real one, and both clients in front of them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, SupportsIndex

import httpx2
import pytest

from groat import AsyncGroat, Groat
from tests.client.blocks import run, run_async
from tests.conftest import fresh_ledger
from tests.http.api import Api
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from groat_server.database import Address
    from groat_server.embedded import Server
    from tests.client.blocks import Body
    from tests.services import Service

RECORDED = b"""{"id": 41, "outcome": "recorded", "tracked": true, "credits_charged": 0.105,
"api_cost": 0.0105, "balance": 99.895, "available": 99.895, "overdrawn": false, "version": 1,
"replayed": false, "created_at": "2025-01-09T15:30:00.123456Z", "price": {"cost_source": "model",
"credits_per_dollar": 10, "multiplier": 1, "rates": {"input": 3, "output": 15.5}}}"""


class Script:
    """The replies to come, the requests and pauses there were, and one client to make calls with."""

    recorded = RECORDED

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.replies: list[httpx2.Response | BaseException] = []
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

    def fail(self, error: BaseException) -> None:
        """Let the next attempt fail."""
        self.replies.append(error)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make one call with a new client; sleeping is only written down."""
        if self.kind == "sync":
            with self.client() as client:
                return getattr(client, method)(*args, **kwargs)
        return asyncio.run(self._call_async(method, *args, **kwargs))

    async def _call_async(self, method: str, *args: Any, **kwargs: Any) -> Any:
        async with self.async_client() as client:
            return await getattr(client, method)(*args, **kwargs)

    def hold(self, body: Body, *args: Any, **kwargs: Any) -> Any:
        """Run the block of a hold with a new client; returns the hold."""
        if self.kind == "sync":
            with self.client() as client:
                return run(client, body, *args, **kwargs)
        return asyncio.run(self._hold_async(body, *args, **kwargs))

    async def _hold_async(self, body: Body, *args: Any, **kwargs: Any) -> Any:
        async with self.async_client() as client:
            return await run_async(client, body, *args, **kwargs)

    def client(self) -> Groat:
        """Make a client for threads."""
        client = Groat(**self.options, transport=httpx2.MockTransport(self._reply))
        client._sleep = self._note  # noqa: SLF001 (no test sleeps)
        return client

    def async_client(self) -> AsyncGroat:
        """Make a client for an event loop."""
        client = AsyncGroat(**self.options, transport=httpx2.MockTransport(self._reply))
        client._sleep = self._note_async  # type: ignore[assignment]  # noqa: SLF001 (as above)
        return client

    def _note(self, seconds: float | SupportsIndex) -> None:
        self.pauses.append(float(seconds))

    async def _note_async(self, seconds: float) -> None:
        self._note(seconds)

    def _reply(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, BaseException):
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


@pytest.fixture(scope="module")
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend the ledger of these tests; it is audited when the last of them is over."""
    with fresh_ledger(server, template) as lent:
        yield lent


@pytest.fixture(scope="module")
def service(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run one service on it."""
    with serving(address, tmp_path_factory.mktemp("service")) as (running,):
        yield running


@pytest.fixture(scope="module")
def api(service: Service, address: Address) -> Iterator[Api]:
    """Lend an administrator's plain client, to prepare and to look."""
    with Api.as_admin(service.url, address) as client:
        yield client


class Meter:
    """One of the two clients, called in the same way."""

    def __init__(self, kind: str, url: str, token: str) -> None:
        self.kind, self.url, self.token = kind, url, token

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Make one call with a new client."""
        if self.kind == "sync":
            with Groat(self.url, self.token) as client:
                return getattr(client, method)(*args, **kwargs)
        return asyncio.run(self._call(method, *args, **kwargs))

    async def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncGroat(self.url, self.token) as client:
            return await getattr(client, method)(*args, **kwargs)

    def hold(self, body: Body, *args: Any, **kwargs: Any) -> Any:
        """Run the block of a hold with a new client; returns the hold."""
        if self.kind == "sync":
            with Groat(self.url, self.token) as client:
                return run(client, body, *args, **kwargs)
        return asyncio.run(self._hold(body, *args, **kwargs))

    async def _hold(self, body: Body, *args: Any, **kwargs: Any) -> Any:
        async with AsyncGroat(self.url, self.token) as client:
            return await run_async(client, body, *args, **kwargs)


@pytest.fixture(params=["sync", "async"])
def meter(request: pytest.FixtureRequest, api: Api) -> Meter:
    """Give each of the two clients."""
    assert api.token is not None
    return Meter(request.param, api.url, api.token)
