"""Charging: Groat's operations against naive service code, side by side on one durable server of its own.

python -m benchmarks.charge [--small]
"""

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
from rich.console import Console
from rich.table import Table

from benchmarks.naive import naive_charger
from groat_server import embedded
from groat_server.core.usage import Usage
from groat_server.database import Address
from groat_server.migrations import migrate
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.prices import sync_catalogue
from groat_server.operations.usage import charge
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
    """New keys and users drawn by a fixed seed."""

    def __init__(self, users: int) -> None:
        self._random = random.Random(1)
        self._users = users
        self._next = 0

    def draw(self) -> tuple[int, str]:
        """Return a user's id and a key that was not used before."""
        self._next += 1
        return self._random.randint(1, self._users), f"benchmark-{self._next:012d}-0123456789abcdef"


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


async def measure(ledger: Ledger, address: Address, keys: Keys, size: Size) -> Measured:
    """Measure all sides, round by round in turn."""
    measured = Measured({})

    async def groat_one(_: int) -> None:
        await charge(ledger, [usage_of(*keys.draw())])

    async def groat_hot(_: int) -> None:
        await charge(ledger, [usage_of(1, keys.draw()[1])])

    async def groat_batch(length: int) -> None:
        await charge(ledger, [usage_of(*keys.draw()) for _ in range(length)])

    async with naive_charger(address) as naive:

        async def naive_one(_: int) -> None:
            await naive(*keys.draw())

        async def naive_hot(_: int) -> None:
            await naive(1, keys.draw()[1])

        for _ in range(size.rounds):
            few = max(size.charges // 4, 16)
            await measured.take("naive, one caller", few, concurrently(1, few, naive_one))
            await measured.take("groat, one caller", few, concurrently(1, few, groat_one))
            await measured.take("naive, 64 callers", size.charges, concurrently(CALLERS, size.charges, naive_one))
            await measured.take("groat, 64 callers", size.charges, concurrently(CALLERS, size.charges, groat_one))
            await measured.take("naive, 64 callers, one user", few, concurrently(CALLERS, few, naive_hot))
            await measured.take("groat, 64 callers, one user", few, concurrently(CALLERS, few, groat_hot))
            await measured.take("groat, batches of 100", 400, concurrently(1, 4, lambda _: groat_batch(100)))
            await measured.take("groat, batches of 1000", 4000, concurrently(1, 4, lambda _: groat_batch(1000)))
    return measured


def show(measured: Measured) -> None:
    """Print the table."""
    table = Table(title="Charges: medians, and ratios to the naive service code in the same run")
    table.add_column("measured")
    table.add_column("charges/s", justify="right")
    table.add_column("ratio to naive", justify="right")
    for name in measured.rates:
        if name.startswith("naive"):
            base = name
        else:
            base = (
                name.replace("groat", "naive")
                if name.replace("groat", "naive") in measured.rates
                else "naive, 64 callers"
            )
        ratio = measured.median(name) / measured.median(base)
        table.add_row(name, f"{measured.median(name):,.0f}", f"{ratio:.1f}x" if not name.startswith("naive") else "")
    Console().print(table)


async def run(address: Address, size: Size) -> None:
    """Prepare the ledger, measure, show."""
    async with open_ledger(address) as ledger:
        async with ledger.database.write() as connection:
            await sync_catalogue(connection)
            await ensure_users(connection, [f"user{number:05d}@example.com" for number in range(size.users)])
        # One round unmeasured: plans, caches, connections.
        keys = Keys(size.users)
        await measure(ledger, address, keys, SMALL)
        show(await measure(ledger, address, keys, size))


def main() -> None:
    """Run on an embedded server in a temporary directory, durable like any other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="one short round, to see that it runs")
    size = SMALL if parser.parse_args().small else FULL
    with tempfile.TemporaryDirectory(prefix="groat-bench-") as directory, embedded.hold(Path(directory)) as server:
        migrate(server.socket_url)
        uvloop.run(run(Address(server.socket_url), size))


if __name__ == "__main__":
    main()
