"""The command line as a program: real processes on a test's ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import fresh_ledger
from tests.services import PATIENCE_SECONDS, environment, on_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from groat_server.database import Address
    from groat_server.embedded import Server


@dataclass(frozen=True)
class Told:
    """What a command printed, and the code it ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The printed JSON, amounts exact."""
        return json.loads(self.out, parse_float=Decimal)


@dataclass(frozen=True)
class Groat:
    """Runs `groat` with an environment."""

    variables: Mapping[str, str]

    def __call__(self, *command: str, **variables: str) -> Told:
        """Run a command to its end."""
        ran = subprocess.run(
            [sys.executable, "-m", "groat_server", *command],
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * PATIENCE_SECONDS,
        )
        return Told(ran.returncode, ran.stdout, ran.stderr)

    def json(self, *command: str) -> Any:
        """Run a command that is to succeed, and return the JSON it prints."""
        told = self(*command, "--json")
        assert told.code == 0, told.err
        return told.json


@pytest.fixture(scope="session")
def cli_ledger(server: Server, template: str) -> Iterator[Address]:
    """Lend the ledger of all tests of commands; it is audited when the last of them is over."""
    with fresh_ledger(server, template) as address:
        yield address


@pytest.fixture(scope="session")
def groat(cli_ledger: Address) -> Groat:
    """Run commands on that ledger."""
    return Groat(on_ledger(cli_ledger))


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Groat:
    """Run commands on a data directory of their own, where there is nothing yet."""
    return Groat(environment(GROAT_DATA_DIR=str(tmp_path_factory.mktemp("data"))))


@pytest.fixture(scope="session")
def postgres_programs(server: Server) -> str:
    """Name the directory of psql, as a PATH."""
    return str(server.binaries)
