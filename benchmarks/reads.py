"""Reading at 1 million and 20 million events: what the service answers, against the same over raw events.

python -m benchmarks.reads [--small] [--data DIRECTORY]

Raw is the faster of two texts: the one that the service publishes for the report, and the guide's. Each answer of the
service is compared with the published text's, to the last digit, in one snapshot. With `--data` the datasets are kept
there for the next run; else they are removed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from rich.table import Table

from benchmarks.dataset import build_in
from benchmarks.harness import CALLERS, Size, Verdict, console, keep, read_size, show_verdicts
from groat_server import embedded
from groat_server.bench.sampling import Draw, sample, usage_of
from groat_server.database import Address
from groat_server.errors import Busy
from groat_server.migrations import migrate
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.preparation import prepare
from groat_server.operations.reports import REPORTS, USER, bind, run_report, user
from groat_server.operations.usage import charge
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

EVENTS, SMALL_EVENTS = (1_000_000, 20_000_000), (2_000, 20_000)
HEAVIEST = 1  # the user of most events
WITH_RAW = ("overview", "top-consumers", "daily-trend")
COMPARED = (*WITH_RAW, "usage-by-action", "quick-stats", "runway", "cost-validation")
_ORDERED = frozenset(COMPARED) - {"quick-stats"}
BY_INDEX = ("recent_activity", "unusual_activity", "user_events", "heaviest_user_events")
_RAW = Path(__file__).parent / "raw"
_QUICK = 9  # times that what takes milliseconds is done in a round
_SLOW = 1.0  # seconds
_TIMEOUT = "30min"

Seconds = dict[str, float]


async def timed(work: Callable[[], Awaitable[object]], times: int) -> float:
    """Return the median of the seconds that it takes; what is slow is done once."""
    taken: list[float] = []
    while len(taken) < times and sum(taken) < _SLOW:
        started = time.perf_counter()
        with suppress(Busy):  # ended by its timeout: it would have taken longer still
            await work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def published(name: str) -> Statement[Any]:
    """Return the statement over raw events that the service publishes for a report."""
    report = REPORTS[name]
    return Statement(f"reports/{name.replace('-', '_')}", report.statement.row)


async def assert_equal(ledger: Ledger, name: str) -> None:
    """Compare what the service answers with the published text's answer, to the last digit, in one snapshot."""
    query = await bind(ledger, name)
    async with ledger.database.snapshot(statement_timeout=_TIMEOUT) as connection:
        served = await query.statement.all(connection, **query.values)
        raw = await published(name).all(connection, **query.values)
    if sorted(map(repr, served)) != sorted(map(repr, raw)) or (name in _ORDERED and repr(served) != repr(raw)):
        raise AssertionError(f"{name}: the service says {served[:3]}, raw events {raw[:3]}")


async def run_text(ledger: Ledger, text: bytes) -> None:
    """Run a text as it stands."""
    async with ledger.database.snapshot(statement_timeout=_TIMEOUT) as connection:
        await (await connection.execute(text)).fetchall()


def run_groat(address: Address, *arguments: str) -> None:
    """Run a command of Groat."""
    command = [sys.executable, "-m", "groat_server", *arguments]
    subprocess.run(command, env=os.environ | {"DATABASE_URL": address.url}, check=True)


async def run_published(ledger: Ledger, name: str) -> None:
    """Run a report's published text."""
    query = await bind(ledger, name)
    async with ledger.database.snapshot(statement_timeout=_TIMEOUT) as connection:
        await published(name).all(connection, **query.values)


def works(ledger: Ledger) -> dict[str, tuple[int, Callable[[], Awaitable[object]]]]:
    """Return what is timed, by name, and how often in a round."""
    found: dict[str, tuple[int, Callable[[], Awaitable[object]]]] = {}
    for name in COMPARED:
        found[name] = _QUICK, partial(run_report, ledger, name)
    for name in WITH_RAW:
        guide = _RAW / f"{name.replace('-', '_')}.sql"
        found[f"{name}, raw"] = 1, partial(run_published, ledger, name)
        found[f"{name}, raw (the guide's)"] = 1, partial(run_text, ledger, guide.read_bytes())
    found["page of the heaviest user"] = _QUICK, partial(user, ledger, HEAVIEST, days=30)
    for name in (*BY_INDEX, "heaviest_user_joined"):
        found[f"{name.replace('_', '-')}, raw (the guide's)"] = (
            _QUICK,
            partial(run_text, ledger, (_RAW / f"{name}.sql").read_bytes()),
        )
    return found


async def measure(ledger: Ledger, size: Size) -> Seconds:
    """Check that answers are equal, then time everything round by round."""
    for name in COMPARED:
        await assert_equal(ledger, name)
    todo = works(ledger)
    taken: dict[str, list[float]] = {name: [] for name in todo}
    for number in range(-1, size.rounds):  # the first warms
        for name, (times, work) in todo.items():
            seconds = await timed(work, times)
            if number >= 0:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


async def while_reporting(ledger: Ledger, size: Size) -> float:
    """Return the rate of charges while every report runs in a loop, to the rate without."""
    draw = Draw(1, 10_000)

    async def one() -> int:
        await charge(ledger, [usage_of(draw.user(), draw.key())])
        return 1

    async def all_reports() -> None:
        while True:
            for name, report in REPORTS.items():
                given = {USER.name: HEAVIEST} if USER in report.parameters else {}
                await run_report(ledger, name, **given)
            await user(ledger, HEAVIEST, days=30)

    rates: dict[bool, list[float]] = {False: [], True: []}
    for number in range(-1, size.rounds):
        for reporting in (False, True)[:: -1 if number % 2 else 1]:
            task = asyncio.create_task(all_reports()) if reporting else None
            seen = await sample(CALLERS, size.seconds * 2, one)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    task.result()
            if number >= 0:
                rates[reporting].append(seen.rate)
    return statistics.median(rates[True]) / statistics.median(rates[False])


def judge(seen: dict[int, Seconds], reporting: float) -> list[Verdict]:
    """Return the goals of reading."""
    few, many = (seen[events] for events in sorted(seen))

    def against_raw(name: str) -> float:
        return min(seconds for key, seconds in many.items() if key.startswith(f"{name}, raw")) / many[name]

    indexed = max(seconds for name, seconds in many.items() if name.split(",")[0].replace("-", "_") in BY_INDEX)
    page = many["page of the heaviest user"]
    top = many["top-consumers"] / few["top-consumers"]
    return [
        Verdict("G13", "overview, 20 M events to 1 M", many["overview"] / few["overview"], 1.2, at_least=False),
        Verdict("G13", "overview against raw at 20 M", against_raw("overview"), 200),
        Verdict("G14", "top consumers, 20 M events to 1 M", top, 1.2, at_least=False),
        Verdict("G14", "top consumers against raw at 20 M", against_raw("top-consumers"), 200),
        Verdict("G14", "daily trend against raw at 20 M", against_raw("daily-trend"), 500),
        Verdict("G14", "page of the heaviest user at 20 M", page * 1e3, 50, at_least=False, unit=" ms"),
        Verdict("G15", "the guide's newest 50, dearest 20, last 20", indexed * 1e3, 5, at_least=False, unit=" ms"),
        Verdict("G17", "charges while every report runs in a loop (1 M)", reporting, 0.8),
    ]


def show(seen: dict[int, Seconds]) -> None:
    """Print the table."""
    table = Table(title="Reads: medians in milliseconds", title_justify="left")
    table.add_column("measured")
    for events in sorted(seen):
        table.add_column(f"{events:,} events", justify="right")
    for name in seen[max(seen)]:
        table.add_row(name, *(f"{seen[events][name] * 1e3:,.2f}" for events in sorted(seen)))
    console().print(table)


async def main(size: Size, directories: dict[int, Path]) -> None:
    """Measure each dataset on its own server."""
    seen: dict[int, Seconds] = {}
    reporting = 0.0
    for events, directory in directories.items():
        if not (directory / "cluster").exists():
            await asyncio.to_thread(build_in, directory, events)
        async with AsyncExitStack() as stack:
            server = stack.enter_context(embedded.hold(directory))
            address = Address(server.socket_url)
            await asyncio.to_thread(migrate, address.url)
            await prepare(address)
            ledger = await stack.enter_async_context(open_ledger(address))
            await ensure_rollups(ledger)
            seen[events] = await measure(ledger, size)
            if events == min(directories):
                reporting = await while_reporting(ledger, size)
    show(seen)
    verdicts = judge(seen, reporting)
    show_verdicts(verdicts)
    keep(size, "reads", None, verdicts, seconds=seen)


async def ensure_rollups(ledger: Ledger) -> None:
    """Make the roll-ups of a dataset that has none yet."""
    async with ledger.database.write() as connection:
        found = await connection.execute("SELECT EXISTS (SELECT FROM usage_daily)")
        if not (await found.fetchone() or (False,))[0]:
            await asyncio.to_thread(run_groat, ledger.database.address, "db", "rebuild-rollups")
            await connection.execute("VACUUM (ANALYZE)")


if __name__ == "__main__":
    found, options = read_size(__doc__, ("--data", {"type": Path, "help": "keep the datasets there"}))
    with tempfile.TemporaryDirectory(prefix="groat-reads-") as temporary:
        root = options.data or Path(temporary)
        events = SMALL_EVENTS if found.is_small else EVENTS
        uvloop.run(main(found, {count: root / f"events-{count}" for count in events}))
