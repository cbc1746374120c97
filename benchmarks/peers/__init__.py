"""Ledgers on PyPI, each in a process of an environment of its own (`make bench-peers`)."""

from __future__ import annotations

import asyncio
import json
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from groat_server.bench.sampling import Sample

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from groat_server.database import Address

PEERS = ("credit-ledger", "flexibilling")


@asynccontextmanager
async def peer(
    python: Path, name: str, address: Address, users: int
) -> AsyncIterator[Callable[[int, tuple[int, int], float], Awaitable[Sample]]]:
    """Give a function that lets callers charge a range of users through a peer, on tables of its own."""
    process = await asyncio.create_subprocess_exec(
        python,
        Path(__file__).with_name("worker.py"),
        f"{name.replace('-', '_')}_side",
        address.url,
        str(users),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    told, tell = process.stdout, process.stdin
    if told is None or tell is None or await told.readline() != b"ready\n":
        raise RuntimeError(f"{name} has not come up")

    async def run(callers: int, users: tuple[int, int], seconds: float) -> Sample:
        tell.write(f"{callers} {seconds} {users[0]} {users[1]}\n".encode())
        seen = json.loads(await told.readline())
        return Sample(seen["charges"], seen["seconds"], seen["p50"], seen["p99"])

    try:
        yield run
    finally:
        tell.close()
        await process.wait()
