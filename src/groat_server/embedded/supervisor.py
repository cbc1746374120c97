"""The supervisor: PostgreSQL's parent, a process of its own that ends with the last holder.

`python -m groat_server.embedded.supervisor DIRECTORY LOCK ORDER`, launched by `holder.py`: LOCK is the descriptor of
the lock that says it lives, ORDER the programs' directory and the options as JSON. It has one thread, needs only the
standard library, and says on its output why it cannot start; an output that ends empty means: the report is written.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from groat_server.embedded import identity
from groat_server.embedded.address import free_port, socket_directory
from groat_server.embedded.cluster import ensure_cluster
from groat_server.embedded.leftovers import clear_postmaster
from groat_server.embedded.locks import Lock
from groat_server.embedded.place import Place, Report, cannot_use, log_tail
from groat_server.embedded.postmaster import Postmaster
from groat_server.embedded.programs import Programs
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Mapping

READY_SECONDS: Final = 300  # recovery after a crash may take long
STARTING_GLANCE_SECONDS: Final = 0.01
RUNNING_GLANCE_SECONDS: Final = 0.2
ATTEMPTS: Final = 5
# A start that failed for one of these may be repeated: someone took the port between our look and the server's, or
# sessions of a killed server are still on their way out.
PASSING_TROUBLES: Final = ("could not create any TCP/IP sockets", "is still in use")


class Ending:
    """Whether it is time to end: told by a signal, or nobody holds the server any more."""

    def __init__(self, holders: Lock) -> None:
        self._holders = holders
        self._told = False
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    def has_come(self, *, within: float) -> bool:
        """Wait `within` seconds, less if a signal comes or a child ends. From True on, newcomers wait for our end."""
        if not self._told and select.select([self._woken], [], [], within)[0]:
            os.read(self._woken, 4096)
        return self._told or self._holders.take_exclusive()

    def _note(self, number: int, _frame: object) -> None:
        self._told = self._told or number != signal.SIGCHLD


def main() -> None:
    """Run PostgreSQL for as long as somebody holds it."""
    directory, descriptor, order = sys.argv[1:]
    if os.fork():
        os._exit(0)  # so that nobody has to reap us
    os.umask(0o077)
    place = Place(Path(directory))
    os.chdir(place.directory)
    with Lock(place.holders) as holders, Lock(place.supervisor, descriptor=int(descriptor)) as alive:
        try:
            _supervise(place, Ending(holders), *json.loads(order))
        except CannotStart as refusal:
            _say(refusal.detail)
        except OSError as error:
            _say(cannot_use(place, error).detail)
        finally:
            # In this order: who sees us gone by `holders` must not find `alive` taken.
            alive.close()


def _supervise(place: Place, ending: Ending, binaries: str, options: Mapping[str, str]) -> None:
    programs = Programs(Path(binaries), identity.choose(place, Path(binaries)))
    version = programs.version()
    clear_postmaster(place)
    ensure_cluster(place, programs, version=version, durably=options.get("fsync") != "off")
    sockets = socket_directory(place, programs.identity)
    server = _start(place, programs, sockets, ending, options)
    if server is None:
        return
    try:
        Report(os.getpid(), server.port, str(sockets), version, binaries).write(place)
        os.dup2(2, 1)  # the launcher reads the end of our output
        while not server.has_ended() and not ending.has_come(within=RUNNING_GLANCE_SECONDS):
            pass
    finally:
        place.report.unlink(missing_ok=True)
        server.stop()
        if sockets != place.sockets:
            sockets.rmdir()


def _start(
    place: Place,
    programs: Programs,
    sockets: Path,
    ending: Ending,
    options: Mapping[str, str],
) -> Postmaster | None:
    """Start a server and see it ready; None if nobody waits for it any more. Raises CannotStart."""
    for _ in range(ATTEMPTS):
        logged = os.fstat(2).st_size
        server = Postmaster(place, programs, port=free_port(place), sockets=sockets, options=options)
        give_up_at = time.monotonic() + READY_SECONDS
        while not server.has_ended() and time.monotonic() < give_up_at:
            if server.is_ready():
                return server
            if ending.has_come(within=STARTING_GLANCE_SECONDS):
                server.stop()
                return None
        server.stop()
        complaint = log_tail(place, since=logged)
        if not any(trouble in complaint for trouble in PASSING_TROUBLES):
            break
        if ending.has_come(within=RUNNING_GLANCE_SECONDS):
            return None
    raise CannotStart(
        f"PostgreSQL (as {programs.identity}) has not become ready; {place.log} ends with:\n{complaint}\n"
        "Mend what it names, or set DATABASE_URL to a server."
    )


def _say(refusal: str) -> None:
    with suppress(BrokenPipeError):
        os.write(1, refusal.encode())


if __name__ == "__main__":
    main()
