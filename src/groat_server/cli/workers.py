"""`groat serve --workers`: services in processes of their own on one port, under a parent that replaces those that die.

Each worker is a whole service, with its own connections. The parent holds the port and, where it is the embedded one,
the database; it serves nothing. A worker whose parent has gone ends itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from groat_server.errors import CannotStart, GroatError

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_CANNOT_START = 3
_AGAIN_SECONDS = 2.0
_END_SECONDS = 40.0  # longer than a worker takes to drain

_log = logging.getLogger(__name__)

Work = Callable[..., None]


def run_workers(number: int, listener: socket.socket, work: Work, *arguments: object) -> None:
    """Run `work(listener, *arguments)` in so many processes until a signal asks for their end; they drain first.

    Raises CannotStart where one of the first cannot start. Whichever dies later is replaced.
    """

    def start() -> BaseProcess:
        worker = multiprocessing.get_context("spawn").Process(target=_run, args=(work, listener, *arguments))
        worker.start()
        return worker

    with _shared_metrics() as directory, _signalled() as signalled:
        workers = [start() for _ in range(number)]
        first = frozenset(workers)
        try:
            while signalled not in wait([signalled, *(worker.sentinel for worker in workers)]):
                for dead in [worker for worker in workers if not worker.is_alive()]:
                    could_not_start = dead.exitcode == _CANNOT_START
                    if could_not_start and dead in first:
                        raise CannotStart("A worker could not start; its log says why.")
                    _log.error("worker %d has ended with %s; another takes its place", dead.pid, dead.exitcode)
                    _forget_figures(dead, directory)
                    if could_not_start and wait([signalled], _AGAIN_SECONDS):
                        return
                    workers[workers.index(dead)] = start()
        finally:
            listener.close()  # who comes now is refused rather than kept waiting
            _end(workers)


def _end(workers: Sequence[BaseProcess]) -> None:
    deadline = time.monotonic() + _END_SECONDS
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        worker.kill()
        worker.join()


def _forget_figures(dead: BaseProcess, directory: str) -> None:
    """Take out of the shared figures what is only true of the living; what a worker has counted stays counted."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(dead.pid or 0, directory)  # type: ignore[no-untyped-call] # the library's


@contextmanager
def _shared_metrics() -> Iterator[str]:
    """Lend the directory in which the workers started meanwhile share their figures."""
    with tempfile.TemporaryDirectory(prefix="groat-figures-") as directory:
        os.environ[_METRICS] = directory
        try:
            yield directory
        finally:
            del os.environ[_METRICS]


@contextmanager
def _signalled() -> Iterator[socket.socket]:
    """Lend what can be read once SIGTERM or SIGINT has come, which do nothing else meanwhile."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(0)
        wakeup = signal.set_wakeup_fd(theirs.fileno())
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield ours
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup)


def _run(work: Work, *arguments: object) -> None:
    """Be a worker. An interrupt at the terminal reaches us too, but our end is the parent's to ask for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(*arguments)
    except GroatError as error:
        print(f"groat: {error.detail}", file=sys.stderr)
        sys.exit(_CANNOT_START)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - a worker has one
    wait([parent.sentinel])
    shutil.rmtree(os.environ[_METRICS], ignore_errors=True)  # nobody else is left to do it
    os.kill(os.getpid(), signal.SIGTERM)
