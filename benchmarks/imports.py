"""Importing: `groat import` of a CSV of a million lines against batches of 1,000 charges, on one durable server.

python -m benchmarks.imports [--small]

Files of a fifth of that take turns with the batches; the memory is that of the whole file's import.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import (
    Meter,
    Side,
    Size,
    Verdict,
    console,
    in_turn,
    keep,
    on_server,
    read_size,
    show,
    show_verdicts,
)
from groat_server.bench.sampling import ACTION_TYPE, MODEL, Draw, Sample, sample, usage_of
from groat_server.bench.sandbox import fill
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.usage import charge

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.embedded import Server

LINES, SMALL_LINES = 1_000_000, 1_000
_PARTS = 5


def write_log(path: Path, lines: int, users: int) -> None:
    """Write a log of the last thirty days, by users 1 to `users`."""
    draw, until = Draw(0, users - 1), datetime.now(UTC).replace(microsecond=0)
    step = timedelta(days=30) / lines
    with path.open("w") as log:
        log.write("occurred_at,email,action_type,model,input_tokens,output_tokens,idempotency_key\n")
        for number in range(lines, 0, -1):
            at = (until - number * step).strftime("%Y-%m-%dT%H:%M:%SZ")
            log.write(f"{at},user{draw.user():06d}@example.com,{ACTION_TYPE},{MODEL},1000,500,{draw.key()}\n")


def run_import(address: Address, path: Path) -> tuple[float, int]:
    """Run `groat import`; returns the seconds that it says it took, and the most bytes of memory that it had."""
    with subprocess.Popen(
        [sys.executable, "-m", "groat_server", "import", str(path), "--json"],
        env=os.environ | {"DATABASE_URL": address.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # its progress
    ) as process:
        told = process.stdout.read() if process.stdout else b""
        _, status, spent = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    report = json.loads(told)
    if process.returncode or report["recorded"] != report["rows"]:
        raise RuntimeError(f"not every line was recorded: {report}")
    return report["seconds"], spent.ru_maxrss * 1024


async def batches(ledger: Ledger, draw: Draw, seconds: float) -> Sample:
    """Charge batches of 1,000, as fast as one caller can."""

    async def one() -> int:
        await charge(ledger, [usage_of(draw.user(), draw.key()) for _ in range(1000)])
        return 1000

    return await sample(1, seconds, one)


async def main(size: Size, server: Server, address: Address) -> None:
    """Measure, print."""
    del server
    lines = SMALL_LINES if size.is_small else LINES
    await fill(address, size.users)
    with tempfile.TemporaryDirectory(prefix="groat-log-") as directory:
        log = Path(directory) / "log.csv"

        async def imported(_: float, lines: int = lines // _PARTS) -> Sample:
            write_log(log, lines, size.users)
            took, _ = await asyncio.to_thread(run_import, address, log)
            return Sample(lines, took, took, took)

        async with AsyncExitStack() as stack:
            ledger = await stack.enter_async_context(open_ledger(address))
            meter = Meter(address.url)
            stack.callback(meter.close)
            sides = [
                Side("batches of 1,000", partial(batches, ledger, Draw(1, size.users))),
                Side("groat import", imported, is_python=False),
            ]
            measured = await in_turn(sides, meter, size)
            write_log(log, lines, size.users)
            whole, most = await asyncio.to_thread(run_import, address, log)
    show("Importing, medians", measured, lambda _: "batches of 1,000")
    verdicts = [
        Verdict(
            "G18", "groat import against batches of 1,000", measured.ratio("groat import", "batches of 1,000"), 0.8
        ),
        Verdict("G18", f"its peak memory, {lines:,} lines", most / 2**20, 150, at_least=False, unit=" MB"),
    ]
    show_verdicts(verdicts)
    console().print(f"{lines:,} lines in one go: {lines / whole:,.0f} a second, {most / 2**20:.0f} MB at most")
    keep(size, "imports", measured, verdicts)


if __name__ == "__main__":
    on_server(partial(main, read_size(__doc__)[0]))
