"""As whom PostgreSQL runs: it refuses root.

Root enters a user namespace in which its files stay its own and PostgreSQL sees itself as an ordinary user. Where
namespaces are forbidden (in most containers), root drops to `nobody`; a directory that an ordinary user owns is served
as that user. No mode is changed for any of it: who cannot reach the directory or the programs is not chosen.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from groat_server.embedded.place import Place

CLONE_NEWUSER: Final = 0x10000000
NOBODY: Final = 65534
REACHES_ALL, NOT_ALLOWED, REACHES_NOT = 0, 1, 2  # exit codes of the trial; the last plus an index


@dataclass(frozen=True, slots=True)
class Identity:
    """A user for PostgreSQL: `uid` and `gid` own its files."""

    uid: int
    gid: int
    namespace: bool = False

    def become(self) -> None:
        """Change this process for good; to be called in a child. Raises OSError."""
        if self.namespace:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        elif self.uid != os.geteuid():
            os.setgroups([])
            os.setgid(self.gid)
            os.setuid(self.uid)

    def give(self, path: Path) -> None:
        """Make a file or directory that we have just made its own."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)

    def obstacle(self, *paths: Path) -> str | None:
        """Try in a child to enter or execute all of `paths`: what keeps it from that, None if nothing."""
        child = os.fork()
        if child == 0:
            outcome = NOT_ALLOWED
            try:
                self.become()
                reached = [os.access(path, os.X_OK) for path in paths]
                outcome = REACHES_ALL if all(reached) else REACHES_NOT + reached.index(False)
            finally:
                os._exit(outcome)
        outcome = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if outcome == REACHES_ALL:
            return None
        return f"cannot reach {paths[outcome - REACHES_NOT]}" if outcome >= REACHES_NOT else "not allowed here"

    def __str__(self) -> str:
        if self.namespace:
            return "root in a user namespace"
        return f"user {self.uid}"


def choose(place: Place, binaries: Path) -> Identity:
    """Find the first candidate that can reach both the directory and the programs. Raises CannotStart."""
    obstacles = []
    for candidate in _candidates(place):
        obstacle = candidate.obstacle(place.directory, binaries / "postgres")
        if obstacle is None:
            return candidate
        obstacles.append(f"{candidate}: {obstacle}")
    raise CannotStart(
        f"PostgreSQL does not run as root, and no other way is open ({'; '.join(obstacles)}). Run Groat as an ordinary "
        "user, or set GROAT_DATA_DIR to a directory that such a user reaches (/var/lib/groat, say), or DATABASE_URL to "
        "a server."
    )


def _candidates(place: Place) -> Iterator[Identity]:
    """Once there is a cluster its owner decides; before that, the directory's, if that is not root."""
    if os.geteuid() != 0:
        yield Identity(os.geteuid(), os.getegid())
        return
    settled = place.cluster.exists()
    owner = (place.cluster if settled else place.directory).stat()
    if owner.st_uid != 0:
        yield Identity(owner.st_uid, owner.st_gid)
    if owner.st_uid == 0 or not settled:
        yield Identity(0, 0, namespace=True)
    if not settled:
        yield _nobody()


def _nobody() -> Identity:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Identity(NOBODY, NOBODY)
    return Identity(entry.pw_uid, entry.pw_gid)
