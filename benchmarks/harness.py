"""What benchmarks have in common: a durable server of its own, sides that take turns, medians, goals."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from groat_server.bench.sandbox import temporary_server
from groat_server.database import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from groat_server.bench.http_load import Answered
    from groat_server.bench.sampling import Sample
    from groat_server.embedded import Server

CALLERS, MANY_CALLERS = 64, 512
# All sides are connected at once, which are more than the embedded server lets in; else its own settings.
_WARMING_SECONDS = 0.5
_LOOK_SECONDS = 0.5
_QUIET = 10  # per cent
SERVER = {"max_connections": "300"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: rounds after one that does not count, seconds a sample, users, and where figures go."""

    rounds: int
    seconds: float
    users: int
    is_small: bool
    into: Path | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One sample of one side. Times in milliseconds, CPU in microseconds a charge, log in bytes a charge."""

    rate: float
    p50: float
    p99: float
    postgres: float
    backends: float
    python: float
    wal: float


@dataclass(frozen=True, slots=True)
class Side:
    """Something that is measured: `run` works for so many seconds.

    The CPU of Python is that of the process `service`; absent, it is this process that works.
    """

    name: str
    run: Callable[[float], Awaitable[Sample | Answered]]
    service: int | None = None
    is_python: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what was measured: met where the figure is at least, or at most, the bound."""

    goal: str
    measure: str
    figure: float
    bound: float
    at_least: bool = True
    unit: str = "x"

    @property
    def is_met(self) -> bool:
        """Whether the goal is met."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    def shown(self) -> tuple[str, str, str, str, str]:
        """Return the cells of a table's row."""
        sign = "≥" if self.at_least else "≤"
        met = "met" if self.is_met else "not met"
        return self.goal, self.measure, f"{sign} {self.bound:g}{self.unit}", f"{self.figure:,.3g}{self.unit}", met


class Meter:
    """Reads what a PostgreSQL and this process have spent so far."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._postmaster = machine.parent(self._connection.info.backend_pid)

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()

    def wal(self) -> float:
        """Return how many bytes of log have been written."""
        return float(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'"))

    def ask(self, query: str) -> Any:
        """Return the one value of a query."""
        row = self._connection.execute(query.encode()).fetchone()
        assert row is not None  # noqa: S101 - such is the query
        return row[0]

    async def take(self, side: Side, seconds: float) -> Figures:
        """Measure one side once."""

        def spent() -> tuple[float, float, float, float]:
            total, backends = machine.postgres_cpu(self._postmaster)
            python = (time.process_time() if side.service is None else machine.cpu(side.service)) * side.is_python
            return total, backends, python, self.wal()

        before = spent()
        seen = await side.run(seconds)
        postgres, backends, python, wal = (
            (after - first) / max(seen.charges, 1) for first, after in zip(before, spent(), strict=True)
        )
        return Figures(seen.rate, seen.p50 * 1e3, seen.p99 * 1e3, postgres * 1e6, backends * 1e6, python * 1e6, wal)


@dataclass(slots=True)
class Measured:
    """What was seen of each side, by its name."""

    samples: dict[str, list[Figures]] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    """Per cent of the machine that was busy with something else, seen before each round while all sides waited."""

    def median(self, name: str) -> Figures:
        """Return the medians of a side."""
        taken = [asdict(figures) for figures in self.samples[name]]
        return Figures(**{key: statistics.median(each[key] for each in taken) for key in taken[0]})

    def rate(self, name: str) -> float:
        """Return a side's median of charges a second."""
        return self.median(name).rate

    def ratio(self, name: str, to: str) -> float:
        """Return how many times as fast a side is as another."""
        return self.rate(name) / self.rate(to)

    def best(self, prefix: str) -> str:
        """Return the fastest side whose name begins so."""
        return max((name for name in self.samples if name.startswith(prefix)), key=self.rate)


async def in_turn(sides: Sequence[Side], meter: Meter, size: Size) -> Measured:
    """Measure all sides round by round, forwards and backwards in turn, after one short round that does not count."""
    for side in () if size.is_small else sides:
        await side.run(_WARMING_SECONDS)
    measured = Measured()
    for number in range(size.rounds):
        measured.others.append(await _used_by_others())
        for side in sides[:: -1 if number % 2 else 1]:
            measured.samples.setdefault(side.name, []).append(await meter.take(side, size.seconds))
    measured.samples = {side.name: measured.samples[side.name] for side in sides}
    return measured


async def _used_by_others() -> float:
    before = machine.busy_share()
    await asyncio.sleep(_LOOK_SECONDS)
    busy, all_ = (after - first for first, after in zip(before, machine.busy_share(), strict=True))
    return 100 * busy / all_


def show(title: str, measured: Measured, base: Callable[[str], str | None]) -> None:
    """Print a table of medians, each with its ratio to the side that `base` names."""
    table = Table(title=title, title_justify="left")
    table.add_column("measured")
    for name in ("charges/s", "ratio", "p50 ms", "p99 ms", "PG CPU µs", "Python CPU µs", "WAL B"):
        table.add_column(name, justify="right")
    for name in measured.samples:
        seen, to = measured.median(name), base(name)
        ratio = "" if to is None or to == name else f"{measured.ratio(name, to):.2f}x"
        table.add_row(
            name,
            f"{seen.rate:,.0f}",
            ratio,
            f"{seen.p50:.2f}",
            f"{seen.p99:.2f}",
            f"{seen.postgres:.1f}",
            f"{seen.python:.1f}" if seen.python else "",
            f"{seen.wal:,.0f}",
        )
    console().print(table)
    others = statistics.median(measured.others)
    if others > _QUIET:
        console().print(f"NOT QUIET: {others:.0f} % of the machine was busy with something else; ratios mean little.")


def show_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print the goals."""
    table = Table(title="Goals", title_justify="left")
    for name in ("goal", "measure", "bound", "figure", ""):
        table.add_column(name)
    for verdict in verdicts:
        table.add_row(*verdict.shown())
    console().print(table)


def console() -> Console:
    """Return where tables go: as wide as they need be where nobody watches."""
    shown = Console()
    return shown if shown.is_terminal else Console(width=140)


def keep(size: Size, name: str, measured: Measured | None, verdicts: Sequence[Verdict], **more: object) -> None:
    """Write down the figures of a script, where it was told to."""
    if size.into is None:
        return
    size.into.mkdir(parents=True, exist_ok=True)
    sides = {} if measured is None else {side: asdict(measured.median(side)) for side in measured.samples}
    kept = {"sides": sides, "verdicts": [asdict(verdict) for verdict in verdicts], **more}
    if measured is not None:
        kept["others"] = statistics.median(measured.others)
    (size.into / f"{name}.json").write_text(json.dumps(kept, indent=1))


def beside(address: Address, database: str) -> Address:
    """Return the address of another database on the same server; it is made if need be."""
    with psycopg.connect(address.url, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            connection.execute(f"CREATE DATABASE {database}".encode())
    return Address(address.url.replace("/groat?", f"/{database}?"))


def read_size(description: str | None, *more: tuple[str, dict[str, Any]]) -> tuple[Size, argparse.Namespace]:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="one short round, to see that it runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each sample")
    parser.add_argument("--into", type=Path, help="a directory for the figures as JSON")
    for name, options in more:
        parser.add_argument(name, **options)
    given = parser.parse_args()
    if given.small:
        return Size(1, 0.1, 50, is_small=True, into=given.into), given
    return Size(given.rounds, given.seconds, 10_000, is_small=False, into=given.into), given


def on_server(measure: Callable[[Server, Address], Awaitable[None]]) -> None:
    """Measure on an embedded server in a temporary directory, durable like any other."""

    async def run(server: Server) -> None:
        await measure(server, Address(server.socket_url))

    with temporary_server(SERVER) as server:
        (uvloop.run if hasattr(uvloop, "run") else asyncio.run)(run(server))
