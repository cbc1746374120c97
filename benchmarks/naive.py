"""The service code that most teams write: an ORM session that locks the balance, inserts the event, updates, commits.

Honest: the same tables, a pool of 20, prepared statements, no work that the job does not need, and the same durability.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from groat_server.models import ActionType, CreditUsageEvent, UserCreditBalance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from groat_server.database import Address

POOL_SIZE = 20


@asynccontextmanager
async def naive_charger(address: Address) -> AsyncIterator[Callable[[int, str], Awaitable[None]]]:
    """Give a function that charges one event of 1000 and 500 tokens to a user, under a key."""
    engine = create_async_engine(
        address.url, pool_size=POOL_SIZE, max_overflow=0, pool_timeout=120, connect_args={"options": address.options()}
    )
    session_of = async_sessionmaker(engine, expire_on_commit=False)
    cost = Decimal("0.0105")
    owed = cost * 10

    async def charge(user_id: int, key: str) -> None:
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
                    credits_charged=owed.normalize(),
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

    try:
        yield charge
    finally:
        await engine.dispose()
