"""What benchmarks have in common: a durable server of its own, rounds in turn, medians."""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from groat_server import embedded
from groat_server.core.usage import Usage
from groat_server.database import Address
from groat_server.migrations import migrate
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.prices import sync_catalogue
from groat_server.operations.users import ensure_users

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLERS = 64


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: users, charges a measurement, rounds."""

    users: int
    charges: int
    rounds: int


FULL = Size(users=10_000, charges=2_000, rounds=5)
SMALL = Size(users=50, charges=64, rounds=1)


@dataclass(slots=True)
class Measured:
    """Charges a second of each round, by what was measured."""

    rates: dict[str, list[float]]

    async def take(self, name: str, charges: int, work: Awaitable[object]) -> None:
        """Measure one piece of work of so many charges."""
        started = time.perf_counter()
        await work
        self.rates.setdefault(name, []).append(charges / (time.perf_counter() - started))

    def median(self, name: str) -> float:
        """Return the median of a measurement's rounds."""
        return statistics.median(self.rates[name])


class Keys:
    """New keys, and users of `first` to `last` drawn by a fixed seed."""

    def __init__(self, first: int, last: int) -> None:
        self._random = random.Random(1)
        self._first, self._last = first, last
        self._next = 0

    def draw(self) -> tuple[int, str]:
        """Return a user's id and a key that was not used before."""
        self._next += 1
        return self._random.randint(self._first, self._last), f"benchmark-{self._next:012d}-0123456789abcdef"


async def concurrently(callers: int, charges: int, one: Callable[[int], Awaitable[object]]) -> None:
    """Let `callers` share `charges` calls of `one`, each caller making its next call once its last is answered."""
    numbers = iter(range(charges))

    async def caller() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(caller() for _ in range(callers)))


def usage_of(user_id: int, key: str) -> Usage:
    """Return the use that every side charges."""
    return Usage(
        user_id=user_id,
        idempotency_key=key,
        action_type="ai_chat_message",
        model="claude-3-5-sonnet",
        input_tokens=1000,
        output_tokens=500,
    )


async def _prepared(address: Address, size: Size, measure: Callable[[Ledger, Address, Size], Awaitable[None]]) -> None:
    async with open_ledger(address) as ledger:
        async with ledger.database.write() as connection:
            await sync_catalogue(connection)
            await ensure_users(connection, [f"user{number:05d}@example.com" for number in range(size.users)])
        await measure(ledger, address, size)


def run(description: str | None, measure: Callable[[Ledger, Address, Size], Awaitable[None]]) -> None:
    """Measure on an embedded server in a temporary directory, durable like any other."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--small", action="store_true", help="one short round, to see that it runs")
    size = SMALL if parser.parse_args().small else FULL
    with tempfile.TemporaryDirectory(prefix="groat-bench-") as directory, embedded.hold(Path(directory)) as server:
        migrate(server.socket_url)
        uvloop.run(_prepared(Address(server.socket_url), size, measure))
