"""One peer in a process of its own, in an environment where Groat is not installed.

`python worker.py MODULE URL USERS`: makes the peer's tables, says "ready", then reads lines of callers, seconds, first
and last user, and answers each with a line of JSON: charges, seconds, and the p50 and p99 of a call in seconds.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import sys
import time
from typing import TYPE_CHECKING, Protocol

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable


class Peer(Protocol):
    """What a module here makes by its function `open_peer(url, users)`."""

    async def run(self, callers: int, until: float, draw: Callable[[], int]) -> list[float]:
        """Let so many callers charge drawn users until then; returns the seconds of each charge."""


async def _load(peer: Peer, callers: int, seconds: float, users: tuple[int, int]) -> dict[str, float]:
    chance = random.Random(1)
    began = time.perf_counter()
    times = sorted(await peer.run(callers, began + seconds, lambda: chance.randint(*users)))
    return {
        "charges": len(times),
        "seconds": time.perf_counter() - began,
        "p50": times[len(times) // 2],
        "p99": times[min(len(times) - 1, int(len(times) * 0.99))],
    }


async def _main(module: str, url: str, users: str) -> None:
    peer: Peer = await importlib.import_module(module).open_peer(url, int(users))
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        callers, seconds, first, last = line.split()
        print(json.dumps(await _load(peer, int(callers), float(seconds), (int(first), int(last)))), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
