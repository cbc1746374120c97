"""Where the server listens: a TCP port that stays the same, and a unix socket whose name is short enough."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from groat_server.embedded.place import write_own
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from groat_server.embedded.identity import Identity
    from groat_server.embedded.place import Place

# Below what Linux and macOS give to outgoing connections, so that nobody takes our port by chance.
FIRST_PORT: Final = 20_000
PORTS: Final = 10_000
# The kernel's field has 108 bytes on Linux and 104 on macOS, the end mark included.
SOCKET_BYTES_MAX: Final = 103
LONGEST_NAME: Final = "/.s.PGSQL.65535"


def free_port(place: Place) -> int:
    """Find the port of the last start if it is free, else another, which then stays. Raises CannotStart."""
    kept = None
    with suppress(FileNotFoundError, ValueError):
        kept = int(place.port.read_text())
    first = kept or FIRST_PORT + zlib.crc32(os.fsencode(place.directory)) % PORTS
    for step in range(PORTS):
        port = FIRST_PORT + (first - FIRST_PORT + step) % PORTS
        if _is_free(port):
            if port != kept:
                write_own(place.port, str(port))
            return port
    raise CannotStart(
        f"No TCP port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} can be had on 127.0.0.1. Bring up the loopback "
        "interface, or set DATABASE_URL to a server."
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def socket_directory(place: Place, identity: Identity) -> Path:
    """Make a directory of `identity` alone, empty of old sockets, where a socket's name fits. Raises CannotStart.

    Only to be called while no server of ours runs: an old socket's lock names a process that may be anyone's by now.
    """
    name = f"groat-{hashlib.sha256(os.fsencode(place.directory)).hexdigest()[:16]}"
    parents = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir()]
    candidates = [place.sockets, *(Path(parent) / name for parent in parents if parent)]
    fitting = [path for path in candidates if _fits(path) and identity.obstacle(path.parent) is None]
    if not fitting:
        raise CannotStart(
            f"The name of a unix socket below {place.directory} would have more than {SOCKET_BYTES_MAX} bytes, and the "
            "directory for temporary files is no way out. Set GROAT_DATA_DIR to a shorter path, or XDG_RUNTIME_DIR."
        )
    return _emptied(fitting[0], identity)


def _fits(path: Path) -> bool:
    """Whether clients can name it: short enough, and a comma would part two hosts."""
    name = f"{path}{LONGEST_NAME}"
    return len(os.fsencode(name)) <= SOCKET_BYTES_MAX and "," not in name


def _emptied(path: Path, identity: Identity) -> Path:
    if not path.exists():
        path.mkdir(mode=0o700)
        identity.give(path)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != identity.uid or found.st_mode & 0o077:
        raise CannotStart(
            f"{path} was not made by Groat or is open to others (mode 0700, user {identity.uid} expected). Remove it."
        )
    for old in path.glob(".s.PGSQL.*"):
        old.unlink()
    return path
