"""The real psql: sessions that are sent statements one by one and answer when the server does."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from groat_server.embedded.waiting import wait_for
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.embedded import Server

PATIENCE_SECONDS = 5
_MARK = "--answered--"


class Psql:
    """One session. Rows come back as lists of their columns' texts."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.send("SELECT pg_backend_pid()")
        self.pid = int(self.answer()[0][0])

    def send(self, statement: str) -> None:
        """Send a statement and do not wait for its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{statement};\n\\echo {_MARK}\n")
        self._process.stdin.flush()

    def answer(self) -> list[list[str]]:
        """Wait for the answer to the oldest statement that has none."""
        assert self._process.stdout is not None
        found: list[list[str]] = []
        for line in self._process.stdout:
            if line.strip() == _MARK:
                return found
            found.append(line.rstrip("\n").split("|"))
        raise AssertionError("psql has ended")

    def run(self, statement: str) -> list[list[str]]:
        """Send a statement and wait for its answer."""
        self.send(statement)
        return self.answer()

    def waits(self, address: Address) -> bool:
        """Whether the session comes to wait for a lock."""
        return waits_for_lock(address, self.pid)


@contextmanager
def psql(server: Server, address: Address) -> Iterator[Psql]:
    """Start psql on this ledger for as long as the block lasts."""
    with subprocess.Popen(
        [server.binaries / "psql", "-X", "-q", "-A", "-t", address.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PGOPTIONS": address.options()},
    ) as process:
        yield Psql(process)


def waits_for_lock(address: Address, pid: int) -> bool:
    """Whether this backend comes to wait for a lock."""
    query = "SELECT pid FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    return wait_for(lambda: ask(address, query, [pid]) != [], seconds=PATIENCE_SECONDS)
