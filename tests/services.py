"""Real services: processes of `groat serve` on a test's ledger, and an application in a thread of this process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import uvicorn

from groat_server.embedded.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp

    from groat_server.database import Address

PATIENCE_SECONDS = 60
_OURS = ("GROAT_", "DATABASE_URL")


@dataclass(frozen=True)
class Service:
    """A running service: its process, where it answers, what it writes."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.url.rpartition(":")[2])

    def answers(self, path: str, status: int = 200) -> bool:
        """Whether it answers GET `path` with this status."""
        try:
            return httpx2.get(f"{self.url}{path}", timeout=5).status_code == status
        except httpx2.TransportError:
            return False

    def wait_until_ready(self) -> None:
        """Wait until it is ready, or has ended in place of that."""
        assert wait_for(lambda: self.answers("/readyz") or not self.runs, seconds=PATIENCE_SECONDS)
        assert self.runs, self.log.read_text()

    @property
    def runs(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        if self.runs:
            self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with these variables, and with no other of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**inherited, "NO_COLOR": "1", **variables}


def on_ledger(address: Address) -> dict[str, str]:
    """Return the environment of a process that works on this ledger, whose server does without fsync."""
    return environment(DATABASE_URL=address.url, GROAT_SCHEMA=address.schema, GROAT_DURABILITY="provider")


def start(command: list[str], variables: dict[str, str], log: Path) -> Service:
    """Start `groat COMMAND` on a port of its own; it is not waited for."""
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "groat_server", *command],
            env={**variables, "GROAT_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return Service(process, f"http://127.0.0.1:{port}", log)


@contextmanager
def serving(address: Address, directory: Path, *, services: int = 1) -> Iterator[list[Service]]:
    """Run so many services on one ledger for as long as the block lasts."""
    with ExitStack() as ends:
        started = []
        for number in range(services):
            started.append(start(["serve"], on_ledger(address), directory / f"service-{number}.log"))
            ends.callback(_end, started[-1])
        for service in started:
            service.wait_until_ready()
        yield started


def _end(service: Service) -> None:
    """End the process, whatever became of the test."""
    try:
        service.stop()
    finally:
        service.process.kill()
        service.process.wait()


@contextmanager
def threaded(app: ASGIApp) -> Iterator[str]:
    """Serve an application from a thread of this process; lends its URL."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        config: dict[str, Any] = {"log_config": None, "access_log": False, "lifespan": "off"}
        server = uvicorn.Server(uvicorn.Config(app, **config))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert wait_for(lambda: server.started, seconds=PATIENCE_SECONDS)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
