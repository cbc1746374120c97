"""Charging: Groat's operations against naive service code, side by side on one durable server of its own.

python -m benchmarks.charge [--small]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.harness import CALLERS, SMALL, Keys, Measured, Size, concurrently, run, usage_of
from benchmarks.naive import naive_charger
from groat_server.operations.usage import charge

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger


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


async def compare(ledger: Ledger, address: Address, size: Size) -> None:
    """Measure and show, after one round unmeasured: plans, caches, connections."""
    keys = Keys(1, size.users)
    await measure(ledger, address, keys, SMALL)
    show(await measure(ledger, address, keys, size))


if __name__ == "__main__":
    run(__doc__, compare)
