"""The wire: one request out, one answer or failure back, as values.

This is the only module that imports httpx2, and it is itself imported when the first client is
made: so `import groat` costs an application next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import httpx2

from ._replies import Answer, Failure

if TYPE_CHECKING:
    from ._address import Address
    from ._requests import Request

T = TypeVar("T")

_CONTENT = {"content-type": "application/json"}
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)


class Connection:
    """A pool of connections to one service, for threads."""

    def __init__(self, address: Address, timeout: float, transport: httpx2.BaseTransport | None) -> None:
        self._client = httpx2.Client(
            base_url=address.url,
            headers=address.headers(),
            timeout=timeout,
            transport=transport,
        )

    def send(self, request: Request[T]) -> Answer | Failure:
        """Make one attempt."""
        try:
            response = self._client.request(request.method, request.path, content=request.body, headers=_CONTENT)
        except httpx2.RequestError as error:
            return _failure(error)
        return _answer(response)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()


class AsyncConnection:
    """A pool of connections to one service, for an event loop."""

    def __init__(self, address: Address, timeout: float, transport: httpx2.AsyncBaseTransport | None) -> None:
        self._client = httpx2.AsyncClient(
            base_url=address.url,
            headers=address.headers(),
            timeout=timeout,
            transport=transport,
        )

    async def send(self, request: Request[T]) -> Answer | Failure:
        """Make one attempt."""
        try:
            response = await self._client.request(request.method, request.path, content=request.body, headers=_CONTENT)
        except httpx2.RequestError as error:
            return _failure(error)
        return _answer(response)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()


def _answer(response: httpx2.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


def _failure(error: httpx2.RequestError) -> Failure:
    return Failure(error, sent=not isinstance(error, _NEVER_SENT))
