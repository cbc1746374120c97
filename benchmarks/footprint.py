"""What Groat takes: bytes of disk and of log a charge, time to import and start; how many balances change in place.

python -m benchmarks.footprint [--small]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from rich.table import Table

from benchmarks.harness import CALLERS, Meter, Size, Verdict, console, keep, on_server, read_size, show_verdicts
from groat_server.bench.sampling import Draw, sample, usage_of
from groat_server.bench.sandbox import fill, running_service
from groat_server.operations.ledger import open_ledger
from groat_server.operations.usage import charge

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.embedded import Server

EVENTS, SMALL_EVENTS = 200_000, 2_000
_IMPORTS = {
    "Python alone": "pass",
    "import groat_server": "import groat_server",
    "import the service": "import groat_server.http.application, groat_server.http.service",
    "import the command line": "import groat_server.cli",
}


def import_seconds(statement: str, times: int) -> float:
    """Return how long Python takes to start, run a statement and end."""

    def run() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        return time.perf_counter() - started

    return statistics.median(run() for _ in range(times))


def start_seconds(address: Address, times: int) -> float:
    """Return how long `groat serve` takes until it says that it is ready."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        with running_service(address):
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def relations(meter: Meter) -> dict[str, int]:
    """Return the bytes of the events' table and of each of its indexes."""
    found = meter.ask(
        "SELECT json_object_agg(relname, pg_relation_size(oid) ORDER BY relkind DESC, relname) FROM pg_class"
        " WHERE oid = 'credit_usage_events'::regclass"
        " OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'credit_usage_events'::regclass)"
    )
    return {str(name): int(bytes_) for name, bytes_ in found.items()}


async def main(size: Size, server: Server, address: Address) -> None:
    """Charge one by one from 64 callers and in batches of 1,000, and weigh what is there then."""
    del server
    await fill(address, size.users)
    meter = Meter(address.url)
    draw = Draw(1, size.users)
    wanted = SMALL_EVENTS if size.is_small else EVENTS
    log: dict[str, float] = {}
    async with open_ledger(address) as ledger:

        async def one(length: int = 1) -> int:
            await charge(ledger, [usage_of(draw.user(), draw.key()) for _ in range(length)])
            return length

        for name, callers, work in ((f"{CALLERS} callers", CALLERS, one), ("batches of 1,000", 1, partial(one, 1000))):
            before, charges = meter.wal(), 0
            while charges < wanted / 2:
                charges += (await sample(callers, size.seconds, work)).charges
            log[name] = (meter.wal() - before) / charges
    # Statistics of a backend reach the others when it has been idle for a moment, or ended, as ours now have.
    updates, in_place = meter.ask(
        "SELECT json_build_array(n_tup_upd, n_tup_hot_upd) FROM pg_stat_user_tables"
        " WHERE relname = 'user_credit_balances'"
    )
    events = meter.ask("SELECT count(*) FROM credit_usage_events")
    bytes_ = {name: size_ / events for name, size_ in relations(meter).items()}
    rest = meter.ask(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class WHERE relname IN"
        " ('usage_hourly', 'usage_daily', 'usage_daily_users', 'user_daily')"
    )
    meter.close()
    times = 1 if size.is_small else size.rounds
    seconds = {name: import_seconds(statement, times) for name, statement in _IMPORTS.items()}
    seconds["groat serve until ready"] = start_seconds(address, times)
    in_place_share = 100 * in_place / max(updates, 1)
    verdicts = [
        Verdict("G16", "disk a charge: heap and indexes", sum(bytes_.values()), 400, at_least=False, unit=" B"),
        Verdict("G16", "log a charge, 64 callers", log[f"{CALLERS} callers"], 750, at_least=False, unit=" B"),
        Verdict("G16", "log a charge, batches of 1,000", log["batches of 1,000"], 750, at_least=False, unit=" B"),
        Verdict("item 3", "balance updates in place (HOT)", in_place_share, 95, unit=" %"),
    ]
    table = Table(title=f"Footprint after {events:,} charges of {size.users:,} users", title_justify="left")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, each in bytes_.items():
        table.add_row(f"{name}, B an event", f"{each:.0f}")
    table.add_row("all roll-ups, B", f"{rest:,}")
    for name, each in log.items():
        table.add_row(f"log, {name}, B a charge", f"{each:.0f}")
    table.add_row("balance updates in place", f"{in_place_share:.1f} %")
    for name, each in seconds.items():
        table.add_row(f"{name}, s", f"{each:.2f}")
    console().print(table)
    show_verdicts(verdicts)
    keep(size, "footprint", None, verdicts, bytes=bytes_, log=log, seconds=seconds, cpus=os.cpu_count())


if __name__ == "__main__":
    on_server(partial(main, read_size(__doc__)[0]))
