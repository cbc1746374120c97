"""What lives as long as the service does: its ledger, its jobs, its figures, and whether it is ready."""

from __future__ import annotations

import asyncio
import gc
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from groat_server.http.metrics import Gauges
from groat_server.jobs.checks import Checker, CheckRuns
from groat_server.jobs.sweep import Sweeper
from groat_server.operations.feed import Feed
from groat_server.operations.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from fastapi import FastAPI

    from groat_server.database import Address
    from groat_server.http.jwt import JwtVerifier
    from groat_server.operations.batching import Batcher
    from groat_server.operations.ledger import Ledger
    from groat_server.settings import JwtSettings, QueueSettings

_PATIENCE_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Service:
    """One process's service on the ledger at `address`.

    `prepare` is done once before the service says that it is ready (sample data); `accompany` runs as long as it does.
    """

    def __init__(
        self,
        address: Address,
        *,
        provider_durability: bool = False,
        queue: QueueSettings | None = None,
        jwt: JwtSettings | None = None,
        prepare: Callable[[Ledger], Awaitable[object]] | None = None,
        accompany: Callable[[Ledger], Awaitable[None]] | None = None,
    ) -> None:
        self.address = address
        self.registry = CollectorRegistry()
        self.gauges = Gauges(self.registry)
        self.check_runs = CheckRuns()
        self.jwt = None if jwt is None else _verifier(jwt)
        self._provider_durability = provider_durability
        self._queue = queue
        self._prepare = prepare
        self._accompany = accompany
        self._is_prepared = prepare is None
        self._sweeper: Sweeper | None = None
        self._batcher: Batcher | None = None
        self._feed: Feed | None = None

    def conditions(self) -> list[tuple[str, bool]]:
        """Return what else readiness depends on, each with whether it holds."""
        return [
            ("sample data", self._is_prepared),
            ("sweep", self._sweeper is not None and self._sweeper.is_alive),
            ("batcher", self._batcher is not None and self._batcher.is_alive),
        ]

    def end_streams(self) -> None:
        """End what would not end by itself: the web server waits for answers that are still being given."""
        if self._feed is not None:
            self._feed.end()

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Open the ledger, keep the jobs running, end them, write what was taken, close the ledger."""
        async with open_ledger(
            self.address, provider_durability=self._provider_durability, queue=self._queue
        ) as ledger:
            app.state.ledger = ledger
            app.state.feed = self._feed = Feed(ledger)
            self._batcher = ledger.batcher
            self.gauges.watch(ledger.batcher)
            async with ledger.database.write() as connection:
                await ledger.book(connection)  # so that the first charge need not wait for it
            gc.collect()
            gc.freeze()  # the price book and all code are here to stay: looking them through again and again costs p99
            self._sweeper = Sweeper(ledger)
            checker = Checker(ledger, self.gauges.checked, runs=self.check_runs)
            tasks = (self._prepared(ledger), self._sweeper.run(), checker.run())
            jobs = [asyncio.create_task(task) for task in tasks]
            try:
                yield
            finally:
                await self._feed.close()
                await _end(jobs)

    async def _prepared(self, ledger: Ledger) -> None:
        try:
            if self._prepare is not None:
                await self._prepare(ledger)
                self._is_prepared = True
            if self._accompany is not None:
                with suppress(asyncio.CancelledError):
                    await self._accompany(ledger)
        except Exception:  # nobody waits for this task before the service ends
            _log.exception("the sample data or its trickle failed")
            raise


def _verifier(settings: JwtSettings) -> JwtVerifier:
    from groat_server.http.jwt import JwtVerifier  # noqa: PLC0415 - slow imports that few services need

    return JwtVerifier(settings)


async def _end(jobs: Sequence[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: Python 3.11 can lose a cancellation while a pooled connection is waited for."""
    running = set(jobs)
    while running:
        for job in running:
            job.cancel()
        _, running = await asyncio.wait(running, timeout=_PATIENCE_SECONDS)
    await asyncio.gather(*jobs, return_exceptions=True)
