"""What PostgreSQL itself can do on the same tables: pgbench with one charge a transaction, and COPY."""

from __future__ import annotations

import asyncio
import math
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from groat_server.bench.sampling import Draw, Sample, percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from groat_server.database import Address

SCRIPTS = ("cte", "function", "pipeline")
COPIED = 1000  # rows a transaction
_FOLDER = Path(__file__).parent / "pgbench"
_THREADS = 2
_CONNECTING = 0.02  # seconds a client, which pgbench takes from its time
_ENDING = 0.2  # seconds until its backends have ended, and their CPU is counted
_COLUMNS = (
    "user_id, created_at, recorded_at, version, price_id, input_tokens, output_tokens, occurred_at_given, action_type,"
    " credits_charged, api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after,"
    " model_used, idempotency_key"
)


class Pgbench:
    """The pgbench beside the server, on a ledger's tables."""

    def __init__(self, binaries: Path, address: Address) -> None:
        self._program = binaries / "pgbench"
        self._url = address.url
        with psycopg.connect(address.url, autocommit=True) as connection:
            connection.execute((_FOLDER / "function_definition.sql").read_bytes())

    async def run(self, script: str, clients: int, users: tuple[int, int], seconds: float) -> Sample:
        """Let so many clients charge these users. Raises RuntimeError where a transaction fails."""
        with tempfile.TemporaryDirectory(prefix="pgbench-") as directory:
            # fmt: off
            command: list[str | Path] = [
                self._program, "--no-vacuum", "--protocol=prepared", f"--client={clients}",
                f"--jobs={min(clients, _THREADS)}", f"--time={math.ceil(seconds + clients * _CONNECTING)}",
                f"--define=first={users[0]}", f"--define=last={users[1]}",
                "--log", f"--log-prefix={directory}/log", f"--file={_FOLDER / script}.sql", self._url,
            ]
            # fmt: on
            process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            told, complaints = await process.communicate()
            await asyncio.sleep(_ENDING)
            if process.returncode:
                raise RuntimeError(complaints.decode())
            times = _logged(Path(directory))
        if not times:  # the machine is so busy that connecting has taken all the time
            return await self.run(script, clients, users, seconds * 2)
        (rate,) = (float(line.split()[2]) for line in told.splitlines() if line.startswith(b"tps"))
        return Sample(len(times), len(times) / rate, percentile(times, 0.5), percentile(times, 0.99))


def _logged(directory: Path) -> list[float]:
    """Return the seconds of each transaction, sorted."""
    logs = (log.read_bytes().splitlines() for log in directory.iterdir())
    return sorted(int(line.split(b" ", 3)[2]) / 1e6 for log in logs for line in log)


@asynccontextmanager
async def copier(address: Address) -> AsyncIterator[Callable[[Draw, float], Awaitable[Sample]]]:
    """Give a function that copies events of drawn users, 1,000 a transaction, by one connection.

    Only COPY itself is timed: the rows are made before.
    """
    connection = await psycopg.AsyncConnection.connect(address.url, options=address.options(), autocommit=True)

    async def copy(draw: Draw, seconds: float) -> Sample:
        times: list[float] = []
        while sum(times) < seconds:
            rows = "".join(_row(draw) for _ in range(COPIED)).encode()
            started = time.perf_counter()
            async with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY credit_usage_events ({_COLUMNS}) FROM STDIN") as out,
            ):
                await out.write(rows)
            times.append(time.perf_counter() - started)
        took = sum(times)
        times.sort()
        return Sample(COPIED * len(times), took, percentile(times, 0.5), percentile(times, 0.99))

    try:
        yield copy
    finally:
        await connection.close()


def _row(draw: Draw) -> str:
    now = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime())
    return (
        f"{draw.user()}\t{now}\t{now}\t7\t1\t1000\t500\tf\tai_chat_message\t0.105\t0.0105\t10\t1\tmodel\t999985.13"
        f"\t999985.13\tclaude-3-5-sonnet\t{draw.key()}\n"
    )
