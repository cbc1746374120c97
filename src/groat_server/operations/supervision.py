"""A task that is started again where it dies, with a connection of its own that is opened again where it is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import psycopg

from groat_server.database import POOL_WAIT_SECONDS
from groat_server.operations.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from groat_server.database import Address

RECONNECT_SECONDS = 0.1
RESTART_SECONDS = 0.2

_log = logging.getLogger(__name__)


class Worker:
    """Runs `work`, which never returns, from the first `wake` on. Where it dies, `abandon` is called; it starts anew.

    Each wait of its connection for a lock ends after `lock_timeout`.
    """

    def __init__(
        self,
        name: str,
        address: Address,
        lock_timeout: str,
        work: Callable[[], Awaitable[None]],
        abandon: Callable[[], None],
    ) -> None:
        self.name = name
        self._address = address
        self._lock_timeout = lock_timeout
        self._work = work
        self._abandon = abandon
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._sleeper: asyncio.Future[None] | None = None
        self._is_stopping = False

    @property
    def is_alive(self) -> bool:
        """Whether the task runs, or has not been needed yet."""
        return self._task is None or not self._task.done()

    def wake(self) -> None:
        """Say that there is work."""
        if self._task is None:
            self._start()
        elif self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    async def sleep(self) -> None:
        """Wait until there is work. For the task itself."""
        self._sleeper = asyncio.get_running_loop().create_future()
        await self._sleeper

    async def connected(self) -> Wire:
        """Return the connection, opened anew where it is lost. Raises OperationalError after some seconds of trying."""
        if self._wire is not None and self._wire.is_good():
            return self._wire
        self._disconnect()
        loop = asyncio.get_running_loop()
        until = loop.time() + POOL_WAIT_SECONDS
        while True:
            try:
                self._wire = await Wire.open(self._address, f"lock_timeout={self._lock_timeout}")
            except psycopg.OperationalError:
                if loop.time() >= until:
                    raise
                await asyncio.sleep(RECONNECT_SECONDS)
            else:
                return self._wire

    async def stop(self) -> None:
        """End the task and close the connection."""
        self._is_stopping = True
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=RESTART_SECONDS)
        self._disconnect()

    def _start(self) -> None:
        if not self._is_stopping:
            self._task = asyncio.create_task(self._run(), name=f"groat: {self.name}")
            self._task.add_done_callback(self._ended)

    async def _run(self) -> None:
        await self._work()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._is_stopping:
            return
        reason = asyncio.CancelledError() if task.cancelled() else task.exception()
        _log.error("%s has died and is started again", self.name, exc_info=reason)
        self._disconnect()
        self._abandon()
        asyncio.get_running_loop().call_later(RESTART_SECONDS, self._start)

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
        self._wire = None
