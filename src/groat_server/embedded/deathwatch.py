"""PostgreSQL must not outlive its supervisor, even one that was killed -9.

Linux delivers a signal when the thread that forked a child ends; so the supervisor has one thread only. Elsewhere a
small process waits at a pipe for the supervisor's end.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def arm(parent: int) -> None:
    """In the child, after it has changed its user (which disarms): send ourselves SIGINT when `parent` ends."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)  # it ended before the arming


def watch_by_pipe(process: int) -> int:
    """Send `process` SIGINT when we end without having called it off: write a byte to the descriptor returned."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.closerange(0, ours)
        os.closerange(ours + 1, theirs + 1)
        if not os.read(ours, 1):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGINT)
        os._exit(0)
    os.close(ours)
    return theirs
