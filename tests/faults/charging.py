"""Charges through a service's batcher until told to stop, and writes down what it was told: one line of JSON a charge.

python -m tests.faults.charging URL NAME SEED CALLERS HOT_USER USER…

Some callers go away before they are answered; some charges are enforced. "stop" on the input ends it, drained.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any

from groat_server.core.usage import Usage
from groat_server.database import Address
from groat_server.operations.ledger import Ledger, open_ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOT_SHARE, _ENFORCED_SHARE, _LEAVING_SHARE, _LARGE_SHARE = 0.3, 0.3, 0.1, 0.05
_LARGE = 20


def say(**said: Any) -> None:
    """Write one line at once: what was said before a kill counts."""
    os.write(sys.stdout.fileno(), json.dumps(said).encode() + b"\n")


class Caller:
    """Charges one use after another, each anew once the last one is answered or given up."""

    def __init__(self, ledger: Ledger, name: str, seed: int, users: Sequence[int]) -> None:
        self._ledger = ledger
        self._name = name
        self._random = random.Random(seed)
        self._users = users
        self._numbers = count()

    async def run(self, stop: asyncio.Event) -> None:
        """Charge until told to stop."""
        while not stop.is_set():
            size = _LARGE if self._random.random() < _LARGE_SHARE else 1
            usages = [self._usage() for _ in range(size)]
            task = asyncio.create_task(self._charge(usages))
            if self._random.random() < _LEAVING_SHARE:
                await asyncio.sleep(self._random.random() * 0.005)
                task.cancel()
            await asyncio.wait([task])

    def _usage(self) -> Usage:
        is_hot = self._random.random() < _HOT_SHARE
        return Usage(
            user_id=self._users[0] if is_hot else self._random.choice(self._users),
            idempotency_key=f"{self._name}-{next(self._numbers)}",
            action_type="unit",
            quantity=Decimal(self._random.choice(["1", "0.5", "0.000000000001"])),
            enforce=self._random.random() < _ENFORCED_SHARE,
        )

    async def _charge(self, usages: Sequence[Usage]) -> None:
        sent = time.monotonic_ns()
        asked = [(usage.user_id, usage.idempotency_key, usage.enforce) for usage in usages]
        say(sent=sent, asked=asked)
        receipts = await self._ledger.batcher.charge(usages)
        answered = time.monotonic_ns()
        for receipt in receipts:
            booking = receipt.booking
            say(
                sent=sent,
                answered=answered,
                user=receipt.usage.user_id,
                key=receipt.usage.idempotency_key,
                outcome=receipt.outcome.value,
                version=booking and booking.version,
                balance=booking and str(booking.balance),
            )


async def main(url: str, name: str, seed: str, callers: str, *users: str) -> None:
    """Run so many callers."""
    stop = asyncio.Event()
    async with open_ledger(Address(url), provider_durability=True) as ledger:
        all_ = [
            Caller(ledger, f"{name}-{n}", int(seed) + n, [int(user) for user in users]) for n in range(int(callers))
        ]
        running = asyncio.gather(*(caller.run(stop) for caller in all_))
        await asyncio.to_thread(sys.stdin.readline)
        stop.set()
        await running
    say(drained=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
