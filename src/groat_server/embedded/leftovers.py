"""What a killed start or server leaves behind, and how to tell it from somebody else's.

A pid in a file proves nothing: by the next start (in a container: nearly always) it may be anyone's. A process is ours
only if it runs PostgreSQL in our cluster. Nothing else is ever signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from groat_server.embedded.waiting import wait_for
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from groat_server.embedded.place import Place

ENDING_SECONDS: Final = 60
PROGRAMS: Final = frozenset({"postgres", "postmaster"})


def clear_postmaster(place: Place) -> None:
    """End a server of ours that has lost its supervisor, and forget one that is gone. Raises CannotStart.

    A pid file whose process is gone is left to PostgreSQL, which also looks for survivors of that server in its shared
    memory; one whose pid is somebody else's by now would keep PostgreSQL from starting, so it is removed. (PostgreSQL
    still finds survivors, by the cluster's inode.)
    """
    pid_file = place.cluster / "postmaster.pid"
    try:
        pid = abs(int(pid_file.read_text().split("\n")[0]))  # negative: a server that ran alone
    except FileNotFoundError:
        return
    except ValueError:
        pid_file.unlink()  # cut short by a power failure
        return
    if runs_in(place.cluster, pid):
        _end(place, pid)
    elif _exists(pid):
        pid_file.unlink()


def _end(place: Place, pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGINT)
    if not wait_for(lambda: not runs_in(place.cluster, pid), seconds=ENDING_SECONDS):
        raise CannotStart(
            f"A PostgreSQL without supervisor (process {pid}) runs in {place.cluster} and does not end. "
            f"End it (kill -INT {pid}), then start again."
        )


def runs_in(cluster: Path, pid: int) -> bool:
    """Tell whether the process runs PostgreSQL in the cluster."""
    if Path("/proc/self/exe").exists():
        return runs_in_by_proc(cluster, pid)
    return runs_in_by_ps(cluster, pid)


def runs_in_by_proc(cluster: Path, pid: int) -> bool:
    """Tell it by /proc. A process that we may not look into is not ours."""
    process = Path("/proc") / str(pid)
    try:
        # A wheel that was replaced meanwhile shows as "postgres (deleted)".
        program = (process / "exe").readlink().name.split(" ")[0]
        return program in PROGRAMS and (process / "cwd").samefile(cluster)
    except OSError:
        return False


def runs_in_by_ps(cluster: Path, pid: int) -> bool:
    """Tell it by the command line, where there is no /proc."""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)],  # noqa: S607 (it lies in different places)
        capture_output=True,
        check=False,
    ).stdout.decode(errors="replace")
    program, _, arguments = shown.partition(" -D ")
    return Path(program).name in PROGRAMS and arguments.startswith(f"{cluster} ")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
