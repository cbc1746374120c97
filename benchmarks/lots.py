"""What lots and holds cost a charge: users with one lot against users with five and an open hold, side by side.

python -m benchmarks.lots [--small]
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.harness import CALLERS, Meter, Side, Size, in_turn, keep, on_server, read_size, show
from groat_server.bench.sampling import Draw, sample, usage_of
from groat_server.bench.sandbox import fill
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.usage import charge

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.embedded import Server

GRANTS = 4  # beside the allowance
ENDOWED_MAX = 2_000
_AT_A_TIME = 16


async def endow(ledger: Ledger, users: range) -> None:
    """Give these users four more lots and an open hold."""
    rest = iter(users)

    async def some() -> None:
        for user_id in rest:
            for lot in range(GRANTS):
                grant = Grant(
                    user_id=user_id,
                    key=f"lot-{lot}",
                    kind="purchase",
                    amount=Decimal(1000),
                    priority=lot,
                    actor="bench",
                )
                await grant_credits(ledger, grant)
            hold = NewHold(user_id=user_id, idempotency_key="hold", seconds=24 * 3600, amount=Decimal(1))
            await place_hold(ledger, hold)

    await asyncio.gather(*(some() for _ in range(_AT_A_TIME)))


def sides(ledger: Ledger, name: str, draw: Draw) -> list[Side]:
    """Return what is measured of one kind of users."""

    async def some(length: int) -> int:
        await charge(ledger, [usage_of(draw.user(), draw.key()) for _ in range(length)])
        return length

    return [
        Side(f"{CALLERS} callers, {name}", lambda seconds: sample(CALLERS, seconds, partial(some, 1))),
        Side(f"batches of 1,000, {name}", lambda seconds: sample(1, seconds, partial(some, 1000))),
    ]


async def main(size: Size, server: Server, address: Address) -> None:
    """Endow half of the users, measure, print."""
    del server
    await fill(address, size.users)
    half = min(size.users // 2, ENDOWED_MAX)
    meter = Meter(address.url)
    async with open_ledger(address) as ledger:
        await endow(ledger, range(half + 1, 2 * half + 1))
        both = sides(ledger, "one lot", Draw(1, half))
        both += sides(ledger, "five lots and a hold", Draw(half + 1, 2 * half))
        measured = await in_turn(both, meter, size)
    meter.close()
    show("Lots and holds, medians", measured, lambda name: f"{name.rpartition(', ')[0]}, one lot")
    keep(size, "lots", measured, [])


if __name__ == "__main__":
    on_server(partial(main, read_size(__doc__)[0]))
