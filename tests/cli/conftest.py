"""The command line as a program: real processes on a test's ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import fresh_ledger
from tests.services import PATIENCE_SECONDS, environment, on_ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    """Runs `groat` with an environment: from the very start or, with a `forker`, without the imports."""

    variables: Mapping[str, str]
    directory: Path
    forker: subprocess.Popen[str] | None = None

    def __call__(self, *command: str, **variables: str) -> Told:
        """Run a command to its end."""
        out, err = self.directory / "out", self.directory / "err"
        given = {**self.variables, **variables}
        code = self._run(command, given, out, err) if self.forker is None else self._fork(command, given, out, err)
        return Told(code, out.read_text(), err.read_text())

    def json(self, *command: str) -> Any:
        """Run a command that is to succeed, and return the JSON it prints."""
        told = self(*command, "--json")
        assert told.code == 0, told.err
        return told.json

    @staticmethod
    def _run(command: Sequence[str], variables: Mapping[str, str], out: Path, err: Path) -> int:
        with out.open("w") as stdout, err.open("w") as stderr:
            return subprocess.run(
                [sys.executable, "-m", "groat_server", *command],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                check=False,
                timeout=2 * PATIENCE_SECONDS,
            ).returncode

    def _fork(self, command: Sequence[str], variables: Mapping[str, str], out: Path, err: Path) -> int:
        assert self.forker is not None
        assert self.forker.stdin is not None
        assert self.forker.stdout is not None
        order = {"command": command, "variables": variables, "stdout": str(out), "stderr": str(err)}
        self.forker.stdin.write(json.dumps(order) + "\n")
        self.forker.stdin.flush()
        return int(self.forker.stdout.readline())


@pytest.fixture(scope="session")
def cli_ledger(server: Server, template: str) -> Iterator[Address]:
    """Lend the ledger of all tests of commands; it is audited when the last of them is over."""
    with fresh_ledger(server, template) as address:
        yield address


@pytest.fixture(scope="session")
def groat(cli_ledger: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Groat]:
    """Run commands on that ledger, quickly."""
    program = Path(__file__).with_name("forking.py")
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as forker:
        yield Groat(on_ledger(cli_ledger), tmp_path_factory.mktemp("commands"), forker)


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Groat:
    """Run commands on a data directory of their own, where there is nothing yet."""
    directory = tmp_path_factory.mktemp("bare")
    return Groat(environment(GROAT_DATA_DIR=str(directory / "data")), directory)


@pytest.fixture(scope="session")
def postgres_programs(server: Server) -> str:
    """Name the directory of psql, as a PATH."""
    return str(server.binaries)
