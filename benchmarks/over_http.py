"""Charging over HTTP: `groat serve`, the naive service and the server with nothing behind it, one process each.

python -m benchmarks.over_http [--small]

The load comes from a process of its own on the same machine. Afterwards a million charges go through one service, whose
memory is watched.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.harness import (
    CALLERS,
    Measured,
    Meter,
    Side,
    Size,
    Verdict,
    beside,
    console,
    in_turn,
    keep,
    on_server,
    read_size,
    show,
    show_verdicts,
)
from benchmarks.naive import DRIVERS
from groat_server.bench.http_load import Answered, Load, run_load
from groat_server.bench.sandbox import fill, running_service, service_token
from groat_server.operations.ledger import open_ledger

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.embedded import Server

BATCHERS = 8  # connections that send batches
_CHARGE, _BATCH = "/api/v1/usage", "/api/v1/usage/batch"
_MILLION, _SLICES = 1_000_000, 10


def load(port: int, users: int, token: str = "", *, connections: int = CALLERS, batch: int = 1) -> partial[Load]:
    """Return a load that only lacks its seconds."""
    return partial(
        Load,
        port=port,
        path=_CHARGE if batch == 1 else _BATCH,
        connections=connections,
        first_user=1,
        last_user=users,
        token=token,
        batch=batch,
    )


def side(name: str, pid: int, made: partial[Load]) -> Side:
    """Return a side that puts a load on a service."""

    async def run(seconds: float) -> Answered:
        return await run_load(made(seconds=seconds))

    return Side(name, run, service=pid)


def judge(measured: Measured) -> list[Verdict]:
    """Return the goals of HTTP."""
    naive = measured.best("naive")
    single, batches, hot = "groat, 64 connections", "groat, batches of 100", "groat, 64 connections, one user"
    p99 = measured.median(naive).p99 / measured.median(single).p99
    return [
        Verdict("G10", "HTTP, 64 connections, against naive", measured.ratio(single, naive), 40),
        Verdict("G10", "its p99: naive's is so many times as long", p99, 40),
        Verdict("G11", "HTTP, batches of 100, against naive", measured.ratio(batches, naive), 130),
        Verdict("G12", "HTTP, one user against 10,000", measured.ratio(hot, single), 1),
    ]


async def memory(pid: int, made: partial[Load], size: Size) -> list[tuple[int, int]]:
    """Put charges on a service until it is a million; returns its memory in bytes after so many charges each."""
    charges, seen = 0, []
    most = 1_000 if size.is_small else _MILLION
    while charges < most:
        charges += (await run_load(made(seconds=size.seconds * 2))).charges
        seen.append((charges, machine.resident(pid)))
    return seen[:: max(1, len(seen) // _SLICES)] + seen[-1:]


async def main(size: Size, server: Server, address: Address) -> None:
    """Start the services, measure, print."""
    del server
    plain = beside(address, "plain")
    await fill(address, size.users)
    await fill(plain, size.users)
    async with open_ledger(address) as ledger:
        token = await service_token(ledger)
    with ExitStack() as stack:
        meter = Meter(address.url)
        stack.callback(meter.close)
        port, pid = stack.enter_context(running_service(address))
        sides = [
            side("groat, 64 connections", pid, load(port, size.users, token)),
            side("groat, 64 connections, one user", pid, load(port, 1, token)),
            side("groat, 1 connection", pid, load(port, size.users, token, connections=1)),
            side("groat, batches of 100", pid, load(port, size.users, token, connections=BATCHERS, batch=100)),
        ]
        million = load(port, size.users, token, connections=BATCHERS, batch=100)
        for driver in DRIVERS:
            other = stack.enter_context(
                running_service(plain, "-m", "benchmarks.naive", variables={"NAIVE_DRIVER": driver})
            )
            sides.append(side(f"naive ({driver}), 64 connections", other[1], load(other[0], size.users)))
            sides.append(side(f"naive ({driver}), 1 connection", other[1], load(other[0], size.users, connections=1)))
        empty = stack.enter_context(running_service(plain, "-m", "benchmarks.noop"))
        sides.append(side("nothing behind the server, 64 connections", empty[1], load(empty[0], size.users)))
        measured = await in_turn(sides, meter, size)
        seen = await memory(pid, million, size)
    show("Charges over HTTP, medians", measured, lambda name: _base(measured, name))
    grown = seen[-1][1] / seen[0][1]
    verdicts = [*judge(measured), Verdict("item 7", "memory after a million charges", grown, 1.1, at_least=False)]
    show_verdicts(verdicts)
    told = ", ".join(f"{bytes_ / 2**20:.0f} MB after {charges:,}" for charges, bytes_ in seen)
    console().print(f"The service's memory: {told}")
    keep(size, "http", measured, verdicts, memory=seen)


def _base(measured: Measured, name: str) -> str:
    naive = measured.best("naive")
    return naive.replace("64 connections", "1 connection") if ", 1 connection" in name else naive


if __name__ == "__main__":
    on_server(partial(main, read_size(__doc__)[0]))
