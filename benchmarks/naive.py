"""The service code that most teams write: an ORM session that locks the balance, inserts the event, updates, commits.

Honest: the same tables, a pool of 20, prepared statements, no work that the job does not need, and the same durability.
`python -m benchmarks.naive` serves it over HTTP, as `groat serve` finds its settings.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from groat_server.database import Address
from groat_server.models import ActionType, CreditUsageEvent, UserCreditBalance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI

POOL_SIZE = 20
# asyncpg where it is installed: the driver that most such services use.
DRIVERS = ("psycopg", "asyncpg") if find_spec("asyncpg") else ("psycopg",)


def _engine_options(address: Address, driver: str) -> tuple[str, dict[str, Any]]:
    url = address.url.replace("postgresql://", f"postgresql+{driver}://")
    if driver == "asyncpg":
        return url, {"server_settings": {"search_path": f"{address.schema},pg_temp", "timezone": "UTC"}}
    return url, {"options": address.options()}


@asynccontextmanager
async def naive_charger(
    address: Address, driver: str = "psycopg"
) -> AsyncIterator[Callable[[int, str], Awaitable[Decimal]]]:
    """Give a function that charges one event of 1000 and 500 tokens to a user, under a key, and tells the balance."""
    url, options = _engine_options(address, driver)
    engine = create_async_engine(url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=120, connect_args=options)
    session_of = async_sessionmaker(engine, expire_on_commit=False)
    cost = Decimal("0.0105")
    owed = (cost * 10).normalize()

    async def charge(user_id: int, key: str) -> Decimal:
        async with session_of() as session:
            balance = (
                await session.execute(
                    select(UserCreditBalance).where(UserCreditBalance.user_id == user_id).with_for_update()
                )
            ).scalar_one()
            now = datetime.now(UTC)
            balance.current_balance = (balance.current_balance - owed).normalize()
            balance.current_month_consumed = (balance.current_month_consumed + owed).normalize()
            balance.total_consumed = (balance.total_consumed + owed).normalize()
            balance.version += 1
            balance.last_event_at = balance.last_recorded_at = now
            session.add(
                CreditUsageEvent(
                    user_id=user_id,
                    created_at=now,
                    recorded_at=now,
                    version=balance.version,
                    input_tokens=1000,
                    output_tokens=500,
                    occurred_at_given=False,
                    action_type=ActionType("ai_chat_message"),
                    credits_charged=owed,
                    api_cost=cost,
                    credits_per_dollar=Decimal(10),
                    multiplier=Decimal(1),
                    cost_source="model",
                    balance_after=balance.current_balance,
                    available_after=balance.current_balance,
                    model_used="claude-3-5-sonnet",
                    idempotency_key=key,
                )
            )
            await session.commit()
            return balance.current_balance

    try:
        yield charge
    finally:
        await engine.dispose()


def create_app(address: Address, driver: str) -> FastAPI:
    """Return the naive service: a pydantic body in, a charge, the balance out."""
    from fastapi import FastAPI  # noqa: PLC0415 - only the served form needs it
    from pydantic import BaseModel  # noqa: PLC0415 - the same

    class Use(BaseModel):
        user: int
        action_type: str
        model: str
        input_tokens: int
        output_tokens: int
        idempotency_key: str

    class Receipt(BaseModel):
        credits_charged: Decimal
        balance: Decimal

    charge: Callable[[int, str], Awaitable[Decimal]] | None = None

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        nonlocal charge
        async with naive_charger(address, driver) as charge:
            yield

    app = FastAPI(lifespan=lifespan)

    async def ready() -> str:
        return "ready"

    async def charge_usage(use: Use) -> Receipt:
        assert charge is not None  # noqa: S101 - set before the first request
        return Receipt(credits_charged=Decimal("0.105"), balance=await charge(use.user, use.idempotency_key))

    charge_usage.__annotations__ = {
        "use": Use,
        "return": Receipt,
    }  # FastAPI reads them; they are names of this function
    app.get("/readyz")(ready)
    app.post("/api/v1/usage", status_code=201)(charge_usage)
    return app


def _serve() -> None:
    import uvicorn  # noqa: PLC0415 - only the served form needs it

    address = Address(os.environ["DATABASE_URL"])
    app = create_app(address, os.environ.get("NAIVE_DRIVER", DRIVERS[0]))
    uvicorn.run(
        app,
        port=int(os.environ["GROAT_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        backlog=1024,
    )


if __name__ == "__main__":
    _serve()
