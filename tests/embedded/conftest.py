"""Servers to kill: a test gets a directory of its own and `Holders` that start, watch and at last end processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from groat_server.embedded import hold
from groat_server.embedded.locks import Lock
from groat_server.embedded.place import Place, Report
from groat_server.embedded.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

FAST = {"fsync": "off"}  # what these tests kill are processes, not the machine
HOLDING = Path(__file__).with_name("holding.py")
PATIENCE_SECONDS = 30


@dataclass
class Holder:
    """A process that holds the server, or tries to."""

    process: subprocess.Popen[str]
    _said: dict[str, Any] | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What it printed, waited for."""
        if self._said is None:
            assert self.process.stdout is not None
            self._said = json.loads(self.process.stdout.readline())
        return self._said

    def leave(self) -> None:
        """End it in good order, and see it gone."""
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)


@dataclass
class Holders:
    """Starts holders of one directory and looks at the processes behind them."""

    place: Place
    _started: list[Holder] = field(default_factory=list)
    _others: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *, wrapped_in: tuple[str, ...] = (), user: int | None = None, **order: object) -> Holder:
        """Start a process that holds the server; it is not waited for."""
        order = {"directory": str(self.place.directory), "options": FAST, **order}
        python = interpreter(user)
        process = subprocess.Popen(
            [*wrapped_in, python, str(HOLDING), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            env=os.environ | ({} if user is None else {"PYTHONPATH": str(HOLDING.parents[2] / "src")}),
            start_new_session=True,
        )
        self._started.append(Holder(process))
        return self._started[-1]

    def innocent(self) -> int:
        """Start a process that has nothing to do with PostgreSQL; its pid."""
        self._others.append(subprocess.Popen(["sleep", "600"], text=True))  # noqa: S607
        return self._others[-1].pid

    def postmaster(self) -> int:
        """Pid of the server."""
        return int((self.place.cluster / "postmaster.pid").read_text().split("\n")[0])

    def supervisor(self) -> int:
        """Pid of its supervisor."""
        report = Report.read(self.place)
        assert report is not None
        return report.supervisor

    def runs(self, pid: int) -> bool:
        """Whether the process is there and no zombie."""
        with suppress(ProcessLookupError):
            os.kill(pid, 0)
            shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607
            return not shown.stdout.startswith("Z")
        return False

    def ends(self, pid: int, *, within: float = PATIENCE_SECONDS) -> bool:
        """Whether the process is gone within so many seconds."""
        return wait_for(lambda: not self.runs(pid), seconds=within)

    def ask(self, url: str, query: str) -> Any:
        """Return the first value that the server answers."""
        with psycopg.connect(url) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]

    def was_shut_down_cleanly(self) -> bool:
        """Whether the server that started last found nothing to recover."""
        starts = self.place.log.read_text().split("starting PostgreSQL")
        return "database system was shut down at" in starts[-1] and "interrupted" not in starts[-1]

    def end_all(self) -> None:
        """End every process that was started here, and see server and supervisor follow."""
        for process in [*(holder.process for holder in self._started), *self._others]:
            process.kill()
            process.communicate()
        if self.place.directory.exists():
            with Lock(self.place.supervisor) as lock:
                assert wait_for(lock.take_exclusive, seconds=PATIENCE_SECONDS)


def interpreter(user: int | None) -> str:
    """Find a Python that the user can run; the tests' own may lie in a home that is closed to others."""
    candidates = [
        sys.executable,
        *(shutil.which(f"python3{minor}", path="/usr/bin:/usr/local/bin") or "" for minor in ("", ".11", ".12", ".13")),
    ]
    for candidate in candidates:
        check = [candidate, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        try:
            if user is None or subprocess.run(check, user=user, check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    return pytest.skip(f"no Python 3.11 or later that user {user} can run")


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Make a directory, with its cluster, that tests use one after the other."""
    place = Place(tmp_path_factory.mktemp("warm") / "groat")
    with hold(place.directory, options=FAST):
        pass
    yield place
    shutil.rmtree(place.directory)


@pytest.fixture
def holders(warm: Place) -> Iterator[Holders]:
    """Start processes on that directory; the test leaves it so that the next start works."""
    holders = Holders(warm)
    yield holders
    holders.end_all()


@pytest.fixture
def own(warm: Place, tmp_path: Path) -> Iterator[Holders]:
    """Start processes on a copy of it, for tests that move or spoil it."""
    holders = Holders(Place(Path(shutil.copytree(warm.directory, tmp_path / "groat"))))
    yield holders
    holders.end_all()
    shutil.rmtree(holders.place.directory)


@pytest.fixture
def cold(tmp_path: Path) -> Iterator[Holders]:
    """Start processes on a directory that does not exist yet."""
    holders = Holders(Place(tmp_path / "cold"))
    yield holders
    holders.end_all()
    shutil.rmtree(holders.place.directory, ignore_errors=True)
