"""credit-ledger: `decrement` by threads, which is how a library without asyncio is used."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

from credit_ledger import decrement  # type: ignore[import-not-found] # installed in the peers' environment only
from sqlalchemy import Engine, create_engine, text

if TYPE_CHECKING:
    from collections.abc import Callable

_AMOUNT = Decimal("0.105")
_CREDITS = 1_000_000
_POOL = 20
# The wheel has no schema: these are the tables that its statements name, with the constraints that its README tells of.
_SCHEMA = (
    """
    CREATE TABLE credit_balance (
        tenant_id text PRIMARY KEY, credits numeric(18,4) NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE credit_ledger (
        id uuid PRIMARY KEY, tenant_id text NOT NULL REFERENCES credit_balance, delta numeric(18,4) NOT NULL,
        reason text, idempotency_key text, balance_after numeric(18,4), created_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (tenant_id, idempotency_key)
    )
    """,
)
_FILL = "INSERT INTO credit_balance (tenant_id, credits) SELECT n::text, :credits FROM generate_series(1, :users) AS n"


class CreditLedger:
    """The library on an engine with a pool of 20."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(self, callers: int, until: float, draw: Callable[[], int]) -> list[float]:
        """Let so many threads charge drawn users until then; returns the seconds of each charge."""

        def caller() -> list[float]:
            times = []
            while (started := time.perf_counter()) < until:
                if not decrement(str(draw()), _AMOUNT, idempotency_key=str(uuid4()), engine=self._engine).ok:
                    raise RuntimeError("a charge was refused")
                times.append(time.perf_counter() - started)
            return times

        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(callers) as threads:
            found = await asyncio.gather(*(loop.run_in_executor(threads, caller) for _ in range(callers)))
        return [each for times in found for each in times]


async def open_peer(url: str, users: int) -> CreditLedger:
    """Make the tables, and give so many users credits."""
    engine = create_engine(
        url.replace("postgresql://", "postgresql+psycopg://"), pool_size=_POOL, max_overflow=0, pool_timeout=120
    )
    with engine.begin() as connection:
        for statement in _SCHEMA:
            connection.execute(text(statement))
        connection.execute(text(_FILL), {"credits": _CREDITS, "users": users})
    return CreditLedger(engine)
