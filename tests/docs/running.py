"""A service of a page's own, for pages that change settings and prices, or that begin with an empty ledger."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from groat_server.embedded.binaries import find_binaries
from tests.docs_blocks import Demo
from tests.services import environment, start

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running(command: list[str], directory: Path) -> Iterator[Demo]:
    """Run `groat COMMAND` with a private PostgreSQL in `directory` for as long as the block lasts."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:{find_binaries(None)}"
    variables = environment(PATH=path, GROAT_DATA_DIR=str(directory / "data"))
    service = start(command, variables, directory / "service.log")
    try:
        service.wait_until_ready()
        variables["GROAT_PORT"] = str(service.port)
        yield Demo(service.port, database_url(variables), variables)
    finally:
        try:
            service.stop()
        finally:
            service.process.kill()
            service.process.wait()


def printed(service: Demo, command: list[str], script: str | None = None) -> str:
    """Run a command beside the service; return what it prints."""
    return _printed(command, service.environment, script)


def database_url(variables: dict[str, str]) -> str:
    """Return where the service's database is."""
    return _printed(["groat", "db", "url"], variables).strip()


def _printed(command: list[str], variables: dict[str, str], script: str | None = None) -> str:
    done = subprocess.run(command, env=variables, input=script or "", capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
