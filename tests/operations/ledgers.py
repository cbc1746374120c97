"""What the tests of operations have in common: usages to charge, users to charge, and a plain connection."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg

from groat_server.core.usage import Usage
from groat_server.operations.users import create_user

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from groat_server.core.outcomes import Outcome
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.usage import Receipt

_numbers = count(1)


def use(user_id: int | None, key: str, credits_: str | Decimal | int = 1, **changes: Any) -> Usage:
    """Make a usage that costs so many credits: units of the action `unit`, whose unit costs one."""
    usage = Usage(user_id=user_id, idempotency_key=key, action_type="unit", quantity=Decimal(credits_))
    return replace(usage, **changes)


def outcomes(receipts: Sequence[Receipt]) -> list[Outcome]:
    """Return what became of each charge."""
    return [receipt.outcome for receipt in receipts]


async def new_user(
    ledger: Ledger,
    allowance: str | int = 100,
    *,
    demo_mode: bool = False,
    time_zone: str = "UTC",
    created_at: datetime | None = None,
) -> int:
    """Create a user; returns the id."""
    user = await create_user(
        ledger,
        f"user-{next(_numbers)}@example.com",
        monthly_allowance=Decimal(allowance),
        demo_mode=demo_mode,
        time_zone=time_zone,
        created_at=created_at,
    )
    return user.id


def connect(address: Address, **options: str) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection in autocommit, as the owner of everything; `options` are server settings."""
    settings = address.options(*(f"{name}={value}" for name, value in options.items()))
    return psycopg.connect(address.url, autocommit=True, options=settings)


def ask(
    address: Address, query: str, parameters: Sequence[object] | Mapping[str, object] = ()
) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    with connect(address) as connection:
        return rows(connection, query, parameters)


def rows(
    connection: psycopg.Connection[tuple[Any, ...]],
    query: str,
    parameters: Sequence[object] | Mapping[str, object] = (),
) -> list[tuple[Any, ...]]:
    """Run one statement on this connection and return its rows, if it has any."""
    found = connection.execute(query.encode(), parameters)
    return found.fetchall() if found.description else []
