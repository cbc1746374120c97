"""flexibilling: `BillingService.charge` on its own SQLAlchemy adapter. It takes no idempotency key."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

# Installed in the peers' environment only:
from flexibilling import BillingService  # type: ignore[import-not-found] # see above
from flexibilling.adapters.sqlalchemy import SQLAlchemyBillingRepository  # type: ignore[import-not-found] # see above
from flexibilling.adapters.sqlalchemy.models import Base  # type: ignore[import-not-found] # see above
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_AMOUNT = Decimal("0.105")
_CREDITS = 1_000_000
_POOL = 20
_FILL = (
    "INSERT INTO customer_balances (customer_id, asset_type, amount)"
    " SELECT n::text, 'credits', CAST(:credits AS integer) FROM generate_series(1, CAST(:users AS integer)) AS n"
)


class _NoCache:
    """Nothing is cached: that would take one more server."""

    async def update_single_balance(self, *_: object) -> None: ...

    async def increment_stats(self, *_: object) -> None: ...


class Flexibilling:
    """The service on an engine with a pool of 20."""

    def __init__(self, service: Any) -> None:
        self._service = service

    async def run(self, callers: int, until: float, draw: Callable[[], int]) -> list[float]:
        """Let so many callers charge drawn users until then; returns the seconds of each charge."""
        times: list[float] = []

        async def caller() -> None:
            while (started := time.perf_counter()) < until:
                await self._service.charge(str(draw()), "credits", _AMOUNT)
                times.append(time.perf_counter() - started)

        await asyncio.gather(*(caller() for _ in range(callers)))
        return times


async def open_peer(url: str, users: int) -> Flexibilling:
    """Make the tables, and give so many users credits."""
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=_POOL, max_overflow=0, pool_timeout=120
    )
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(text(_FILL), {"credits": _CREDITS, "users": users})
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction() -> AsyncIterator[AsyncSession]:
        async with sessions() as session, session.begin():
            yield session

    repository = SQLAlchemyBillingRepository(sessions)
    return Flexibilling(BillingService(repository, _NoCache(), transaction_factory=transaction))
