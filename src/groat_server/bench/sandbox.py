"""A ledger to measure on: a PostgreSQL of its own in a temporary directory, as durable as any, and a service on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

from groat_server import embedded
from groat_server.bench.sampling import Draw, usage_of
from groat_server.core.scopes import Scope
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.preparation import prepare
from groat_server.operations.tokens import create_token
from groat_server.operations.usage import BATCH_MAX, charge
from groat_server.operations.users import ensure_users

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from groat_server.database import Address

USERS = 10_000
_CREDITS = 1_000_000  # each user's: nobody's end
_READY_SECONDS = 60
_POLL_SECONDS = 0.05


@contextmanager
def temporary_server(options: Mapping[str, str] | None = None) -> Iterator[embedded.Server]:
    """Run a PostgreSQL in a temporary directory, with the embedded server's own settings but for `options`."""
    with (
        tempfile.TemporaryDirectory(prefix="groat-bench-") as directory,
        embedded.hold(Path(directory), options=options) as server,
    ):
        yield server


async def fill(address: Address, users: int = USERS, *, allowance: int = _CREDITS) -> None:
    """Make the database a ledger, and add so many users who have `allowance` credits each.

    Each is charged once: what a user's first charge of a day costs more is no part of what is measured.
    """
    await prepare(address)
    async with open_ledger(address) as ledger, ledger.database.write() as connection:
        await connection.execute("UPDATE ledger_settings SET default_allowance = %s", (allowance,))
        found = await connection.execute("SELECT count(*) FROM users")
        first = (await found.fetchone() or (0,))[0]
        await ensure_users(connection, [f"user{number:06d}@example.com" for number in range(first, first + users)])
        draw = Draw(1, users)
        for start in range(first + 1, first + users + 1, BATCH_MAX):
            some = range(start, min(start + BATCH_MAX, first + users + 1))
            await charge(ledger, [usage_of(user_id, draw.key()) for user_id in some])
        # As autovacuum would have done after a minute: without statistics the first plans are guesses.
        await connection.execute("VACUUM (ANALYZE)")


async def service_token(ledger: Ledger) -> str:
    """Make a token that may charge anybody."""
    return (await create_token(ledger, name="bench", scopes=[Scope.USAGE_WRITE])).token


@contextmanager
def running_service(
    address: Address, *arguments: str, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[int, int]]:
    """Run a service in a process of its own until the end of the block; gives its port and its pid.

    It is `groat serve`, or Python with these arguments, which finds its port in GROAT_PORT and its database in
    DATABASE_URL, and says at /readyz that it is ready. Raises RuntimeError where it does not.
    """
    port = _free_port()
    told = {"DATABASE_URL": address.url, "GROAT_SCHEMA": address.schema, "GROAT_PORT": str(port), **(variables or {})}
    process = subprocess.Popen(
        [sys.executable, *(arguments or ("-m", "groat_server", "serve"))],
        env=os.environ | told,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a line a request
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_ready(process, port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _await_ready(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return
        time.sleep(_POLL_SECONDS)
    raise RuntimeError(f"the service {'is not ready' if process.poll() is None else 'has ended'}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
