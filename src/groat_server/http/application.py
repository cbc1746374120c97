"""The service: the application that a web server runs, and what lives as long as it does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from groat_server import __version__
from groat_server.http import admin_credits, admin_users, me, probes, problems, usage
from groat_server.http.metrics import Gauges
from groat_server.http.middleware import Envelope
from groat_server.jobs.sweep import Sweeper
from groat_server.operations.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

BODY_BYTES_MAX = 256 * 2**10

_DESCRIPTION = "The credit ledger and monitor for AI applications: charge usage exactly once, and see who used what."


class Service:
    """One process's service on the ledger at `address`.

    `prepare` is done once before the service says that it is ready (sample data); `accompany` runs as long as it does.
    """

    def __init__(
        self,
        address: Address,
        *,
        provider_durability: bool = False,
        prepare: Callable[[Ledger], Awaitable[object]] | None = None,
        accompany: Callable[[Ledger], Awaitable[None]] | None = None,
    ) -> None:
        self.address = address
        self.registry = CollectorRegistry()
        self.gauges = Gauges(self.registry)
        self._provider_durability = provider_durability
        self._prepare = prepare
        self._accompany = accompany
        self._is_prepared = prepare is None
        self._sweeper: Sweeper | None = None

    def conditions(self) -> list[tuple[str, bool]]:
        """Return what else readiness depends on, each with whether it holds."""
        return [("sample data", self._is_prepared), ("sweep", self._sweeper is not None and self._sweeper.is_alive)]

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Open the ledger, keep the jobs running, end them, close the ledger."""
        async with open_ledger(self.address, provider_durability=self._provider_durability) as ledger:
            app.state.ledger = ledger
            self._sweeper = Sweeper(ledger)
            jobs = [asyncio.create_task(self._prepared(ledger)), asyncio.create_task(self._sweeper.run())]
            try:
                yield
            finally:
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)

    async def _prepared(self, ledger: Ledger) -> None:
        if self._prepare is not None:
            await self._prepare(ledger)
            self._is_prepared = True
        if self._accompany is not None:
            with suppress(asyncio.CancelledError):
                await self._accompany(ledger)


def create_app(service: Service) -> FastAPI:
    """Return the ASGI application of a service."""
    app = FastAPI(
        title="Groat",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=service.lifespan,
        max_body_size=BODY_BYTES_MAX,
        separate_input_output_schemas=False,
    )
    app.state.service = service
    for router in (
        usage.router,
        usage.estimates,
        admin_credits.router,
        admin_users.router,
        admin_users.balances,
        me.router,
    ):
        app.include_router(router)
    app.include_router(probes.router)
    problems.install(app)
    app.add_middleware(Envelope, gauges=service.gauges)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    described = app.openapi

    def openapi() -> dict[str, Any]:
        document = described()
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = problems.PROBLEM_SCHEMA
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return document

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the document
