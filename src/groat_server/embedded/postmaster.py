"""One run of the server: its command line, the moment it is ready, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from groat_server.embedded import deathwatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from groat_server.embedded.place import Place
    from groat_server.embedded.programs import Programs

# Line of postmaster.pid (from 0) in which PostgreSQL says how far it is.
STATUS_LINE: Final = 7
# Fast shutdown, immediate shutdown, kill: each with the seconds it gets. It is over in 0.1 s unless the disk is slow.
ENDINGS: Final = ((signal.SIGINT, 30), (signal.SIGQUIT, 10), (signal.SIGKILL, 10))


class Postmaster:
    """A server process of ours; it logs to our standard error."""

    def __init__(
        self,
        place: Place,
        programs: Programs,
        *,
        port: int,
        sockets: Path,
        options: Mapping[str, str],
    ) -> None:
        ours = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(sockets),
        }
        settings = [f"--{name}={value}" for name, value in (dict(options) | ours).items()]
        self.port = port
        self._pid_file = place.cluster / "postmaster.pid"
        self._process = programs.start("postgres", "-D", str(place.cluster), *settings, stdout=2)
        self._watch = None
        if sys.platform != "linux":
            self._watch = deathwatch.watch_by_pipe(self._process.pid)

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def is_ready(self) -> bool:
        """Whether it takes connections."""
        try:
            lines = self._pid_file.read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > STATUS_LINE and lines[0] == str(self._process.pid) and lines[STATUS_LINE].strip() == "ready"

    def stop(self) -> None:
        """Return when it is gone: cleanly if it can, by force if it must. To be called once."""
        for number, seconds in ENDINGS:
            self._process.send_signal(number)  # none is sent to a process already reaped
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                continue
            break
        if self._watch is not None:
            os.write(self._watch, b".")
            os.close(self._watch)
