"""File locks that end with the process that has them, however it ends.

`flock` belongs to an open file: exec drops ours (close-on-exec) and a forked child closes its copy at once, so neither
kind of child keeps a server alive that its parent has left.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from groat_server.embedded.place import open_own

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class Lock:
    """A lock file, opened; at first it is not locked. No method ever waits."""

    def __init__(self, path: Path, *, descriptor: int | None = None) -> None:
        self._descriptor = open_own(path, os.O_RDWR) if descriptor is None else descriptor
        os.set_inheritable(self._descriptor, False)  # noqa: FBT003 (it takes no keyword)
        _opened.add(self)

    def take_shared(self) -> bool:
        """Whether the lock is now shared with all others that share it."""
        return self._take(fcntl.LOCK_SH)

    def take_exclusive(self) -> bool:
        """Whether the lock is now ours alone; if not, what we had of it is lost."""
        return self._take(fcntl.LOCK_EX)

    def fileno(self) -> int:
        """Descriptor to hand to a child, which then has the lock together with us."""
        return self._descriptor

    def close(self) -> None:
        """Give up the lock, unless a child was handed its descriptor. May be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, kind: int) -> bool:
        if self._descriptor < 0:
            return False
        with suppress(BlockingIOError):
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            return True
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_opened: weakref.WeakSet[Lock] = weakref.WeakSet()


def _close_all() -> None:
    for lock in list(_opened):
        lock.close()


os.register_at_fork(after_in_child=_close_all)
