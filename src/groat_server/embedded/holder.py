"""The holder's side: share the one server of a directory, start it if nobody has, leave it.

Three lock files say all. Who shares `holders` wants the server; the supervisor ends as soon as it gets that lock for
itself, which is when nobody is left, so a newcomer waits until the old server is gone and starts a fresh one.
`supervisor` is taken *before* the launch and handed over, so there is no moment at which a supervisor lives unseen.
`starting` lets one newcomer look at a time: between a launcher's grasp of `supervisor` and its removal of the report
that a killed supervisor left, another would believe that report.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from groat_server.embedded.binaries import find_binaries
from groat_server.embedded.locks import Lock
from groat_server.embedded.place import Place, Report, cannot_use, log_tail, open_log, prepare
from groat_server.embedded.waiting import GLANCE_SECONDS, wait_for
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Each is longer than what the supervisor itself allows PostgreSQL for the same.
START_SECONDS: Final = 330
STOP_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A running PostgreSQL with the superuser `groat` and the database `groat`."""

    url: str = field(repr=False)  # over TCP on 127.0.0.1: for any client
    socket_url: str = field(repr=False)  # the same over the unix socket: for our own processes
    version: str  # "18.6"
    started: bool  # by this call
    seconds: float  # that this call took
    binaries: Path  # the directory of the server's psql and pg_dump


@contextmanager
def hold(
    directory: Path,
    *,
    binaries: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Keep the server of `directory` running for as long as the block lasts, shared with all others that hold it.

    It is started if need be, by the programs in `binaries` (default: the installed wheel's) and with `options` as
    further PostgreSQL settings; whoever joins a running server gets it as it is. The last to leave returns when the
    server has ended; if that one is killed, the server ends within 3 s. Raises CannotStart.
    """
    begun = time.monotonic()
    programs = find_binaries(binaries)
    place = prepare(directory)
    with _refusals(place):
        lock = Lock(place.holders)
    try:
        with _refusals(place):
            report, started = _join_or_launch(place, lock, [str(programs), dict(options or {})])
            password = place.password.read_text()
        yield _server(report, password, started=started, seconds=time.monotonic() - begun)
    finally:
        _leave(place, lock)
        lock.close()


def _join_or_launch(place: Place, lock: Lock, order: list[object]) -> tuple[Report, bool]:
    """Get the report of a server that cannot end before we leave, and whether we launched it."""
    if not wait_for(lock.take_shared, seconds=STOP_SECONDS):
        raise CannotStart(
            f"The previous server in {place.directory} has not ended for {STOP_SECONDS} s. {place.log} says "
            "what it does; try again when it has."
        )
    give_up_at = time.monotonic() + START_SECONDS
    with Lock(place.starting) as starting:
        if not wait_for(starting.take_exclusive, seconds=START_SECONDS):
            raise _too_slow(place)
        while time.monotonic() < give_up_at:
            with Lock(place.supervisor) as supervisor:
                if supervisor.take_exclusive():
                    return _launch(place, supervisor, order), True
            if report := Report.read(place):
                return report, False
            time.sleep(GLANCE_SECONDS)  # its launcher was killed, or it is ending: either shows soon
    raise _too_slow(place)


def _launch(place: Place, lock: Lock, order: list[object]) -> Report:
    """Start a supervisor that takes over `lock`; what it says before it closes its output is a refusal."""
    place.report.unlink(missing_ok=True)
    log = open_log(place)
    try:
        logged = os.fstat(log).st_size
        # -P: no module of the directory that somebody happens to be in. A session of its own: no Ctrl-C.
        module = [sys.executable, "-P", "-m", "groat_server.embedded.supervisor"]
        with subprocess.Popen(
            [*module, str(place.directory), str(lock.fileno()), json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=[lock.fileno()],
            start_new_session=True,
        ) as process:
            refusal = process.communicate()[0].decode()
    finally:
        os.close(log)
    if refusal:
        raise CannotStart(refusal)
    if report := Report.read(place):
        return report
    raise CannotStart(
        f"The supervisor of PostgreSQL ended without a word; {place.log} ends with:\n{log_tail(place, since=logged)}"
    )


def _server(report: Report, password: str, *, started: bool, seconds: float) -> Server:
    """Compose what the holder is told."""
    login = f"postgresql://groat:{password}"
    return Server(
        url=f"{login}@127.0.0.1:{report.port}/groat",
        socket_url=f"{login}@/groat?host={quote(report.sockets, safe='')}&port={report.port}",
        version=report.version,
        started=started,
        seconds=seconds,
        binaries=Path(report.binaries),
    )


@contextmanager
def _refusals(place: Place) -> Iterator[None]:
    """Turn what the operating system denies us there into CannotStart."""
    try:
        yield
    except OSError as error:
        raise cannot_use(place, error) from error


def _too_slow(place: Place) -> CannotStart:
    return CannotStart(
        f"PostgreSQL in {place.directory} has not become ready for {START_SECONDS} s. {place.log} says what "
        "it does; try again when it is done."
    )


def _leave(place: Place, lock: Lock) -> None:
    """If we are the last, end the server and see it gone. In a forked child the lock is closed: nothing happens."""
    if not lock.take_exclusive():
        return
    report = Report.read(place)
    with Lock(place.supervisor) as supervisor:
        if report is None or supervisor.take_exclusive():
            return
        try:
            os.kill(report.supervisor, signal.SIGTERM)
        except (PermissionError, ProcessLookupError):
            return  # another user's, or just gone: it ends by itself once we let go
        wait_for(supervisor.take_exclusive, seconds=STOP_SECONDS)
