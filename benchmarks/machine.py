"""What the operating system says of processes (Linux): CPU time and memory."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")
_SYNCS = 100
_CLIENT = b"postgres: groat "  # how the title of a backend that serves a client begins


def _stat(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def parent(pid: int) -> int:
    """Return the parent's pid."""
    return int(_stat(pid)[1])


def resident(pid: int) -> int:
    """Return how many bytes of memory a process has."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE


def cpu(pid: int) -> float:
    """Return the CPU seconds of all threads of a process."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) * _TICK


def _ran(pid: int) -> float:
    """Return the CPU seconds of a process of one thread, to the nanosecond."""
    return int((_PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9


def busy_share() -> tuple[int, int]:
    """Return how many ticks the machine's processors have been busy so far, and how many there were."""
    user, nice, system, idle, waiting, *rest = (
        int(each) for each in (_PROC / "stat").read_text().split("\n")[0].split()[1:9]
    )
    busy = user + nice + system + sum(rest)
    return busy, busy + idle + waiting


def sync_seconds() -> float:
    """Return the median of what it takes to make a page durable, where temporary files are."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_SYNCS):
            started = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), 0)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def postgres_cpu(postmaster: int) -> tuple[float, float]:
    """Return the CPU seconds of all of a PostgreSQL, ended processes included, and of its clients' backends."""
    fields = _stat(postmaster)
    total = _ran(postmaster) + (int(fields[13]) + int(fields[14])) * _TICK
    backends = 0.0
    for child in (_PROC / str(postmaster) / "task" / str(postmaster) / "children").read_text().split():
        try:
            ran, title = _ran(int(child)), (_PROC / child / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended, and counts as such
        total += ran
        backends += ran if title.startswith(_CLIENT) else 0
    return total, backends
