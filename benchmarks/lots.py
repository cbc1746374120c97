"""What lots and holds cost a charge: users with one lot against users with five and an open hold, side by side.

python -m benchmarks.lots [--small]
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.harness import CALLERS, SMALL, Keys, Measured, Size, concurrently, run, usage_of
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.usage import charge

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

GRANTS = 4  # beside the allowance


async def endow(ledger: Ledger, users: range) -> None:
    """Give these users four more lots and an open hold."""

    async def one(number: int) -> None:
        user_id = users[number]
        for lot in range(GRANTS):
            grant = Grant(
                user_id=user_id, key=f"lot-{lot}", kind="purchase", amount=Decimal(1000), priority=lot, actor="bench"
            )
            await grant_credits(ledger, grant)
        await place_hold(ledger, NewHold(user_id=user_id, idempotency_key="hold", seconds=24 * 3600, amount=Decimal(1)))

    await concurrently(CALLERS, len(users), one)


async def measure(ledger: Ledger, sides: dict[str, Keys], size: Size) -> Measured:
    """Measure both kinds of users, round by round in turn."""
    measured = Measured({})
    for number in range(size.rounds):
        for name, keys in list(sides.items())[:: 1 if number % 2 else -1]:

            async def one(_: int, keys: Keys = keys) -> None:
                await charge(ledger, [usage_of(*keys.draw())])

            async def batch(length: int, keys: Keys = keys) -> None:
                await charge(ledger, [usage_of(*keys.draw()) for _ in range(length)])

            await measured.take(f"64 callers, {name}", size.charges, concurrently(CALLERS, size.charges, one))
            await measured.take(f"batches of 1000, {name}", 4000, concurrently(1, 4, lambda _: batch(1000)))
    return measured


def show(measured: Measured) -> None:
    """Print the table."""
    table = Table(title="Charges: medians, and ratios to users with one lot in the same run")
    table.add_column("measured")
    table.add_column("charges/s", justify="right")
    table.add_column("ratio to one lot", justify="right")
    for name in sorted(measured.rates, key=lambda name: (name.split(",")[0], "hold" in name)):
        base = f"{name.split(',')[0]}, one lot"
        ratio = "" if name == base else f"{measured.median(name) / measured.median(base):.2f}x"
        table.add_row(name, f"{measured.median(name):,.0f}", ratio)
    Console().print(table)


async def compare(ledger: Ledger, _: Address, size: Size) -> None:
    """Endow half of the users, measure and show, after one round unmeasured."""
    half = size.users // 2
    await endow(ledger, range(half + 1, size.users + 1))
    sides = {"one lot": Keys(1, half), "five lots and a hold": Keys(half + 1, size.users)}
    await measure(ledger, sides, SMALL)
    show(await measure(ledger, sides, size))


if __name__ == "__main__":
    run(__doc__, compare)
