"""The web server: uvicorn, set up for us."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from groat_server.http.application import create_server

if TYPE_CHECKING:
    import socket

    from groat_server.http.service import Service

_SHUTDOWN_SECONDS = 25
_HELD_BYTES_MAX = 2**16


class JoinedWrites:
    """A transport that writes at once what is written within one turn of the loop.

    uvicorn writes the head of an answer and then its body: two calls of the system, two packets, and a client that is
    woken twice, which is a fifth of all that a small answer costs.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, part: bytes) -> None:
        """Write, by the end of this turn of the loop."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(part)
        self._held_bytes += len(part)
        if self._held_bytes > _HELD_BYTES_MAX:  # so that the transport can say that it has enough
            self._flush()

    def close(self) -> None:
        """Write what is left, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            self._transport.write(b"".join(self._held))
            self._held.clear()
            self._held_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Protocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as theirs does
        """Begin a connection."""
        super().connection_made(transport)
        self.transport = JoinedWrites(transport)  # type: ignore[assignment] # it is one in all that is used


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve.

        What is there by then stays until the end: the garbage collector need not look at it again and again, which
        would keep all requests waiting.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, streams first."""
        self._service.end_streams()
        await super().shutdown(sockets)


def run_server(service: Service, listener: socket.socket) -> bool:
    """Serve until a signal asks for the end; tells whether it could start."""
    config = uvicorn.Config(
        create_server(service),
        http=_Protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks where a request comes from
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _Server(config, service)
    server.run(sockets=[listener])
    return server.started
