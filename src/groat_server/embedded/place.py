"""Where everything lies below the directory, and the few ways in which our own files are written."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from groat_server.errors import CannotStart

LOG_BYTES_MAX = 10_000_000
TAIL_BYTES = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """The names in one directory: each file's purpose is told where it is used."""

    directory: Path

    @property
    def cluster(self) -> Path:
        """What PostgreSQL calls the data directory; it appears complete or not at all."""
        return self.directory / "cluster"

    @property
    def holders(self) -> Path:
        """Lock that each holder shares and the supervisor wants for itself."""
        return self.directory / "holders.lock"

    @property
    def starting(self) -> Path:
        """Lock of the one holder that looks for a supervisor or launches it."""
        return self.directory / "starting.lock"

    @property
    def supervisor(self) -> Path:
        """Lock that the supervisor has for as long as it lives."""
        return self.directory / "supervisor.lock"

    @property
    def password(self) -> Path:
        """Password of the role `groat`, readable by its owner alone."""
        return self.directory / "password"

    @property
    def port(self) -> Path:
        """TCP port to take again at the next start."""
        return self.directory / "port"

    @property
    def sockets(self) -> Path:
        """Directory of the unix socket, where its name is short enough."""
        return self.directory / "socket"

    @property
    def report(self) -> Path:
        """What the supervisor tells all holders: there while the server takes connections."""
        return self.directory / "server.json"

    @property
    def log(self) -> Path:
        """Log of PostgreSQL and of the supervisor; the one before it ends in `.1`."""
        return self.directory / "server.log"


@dataclass(frozen=True, slots=True)
class Report:
    """A server that takes connections: its address and who looks after it."""

    supervisor: int
    port: int
    sockets: str
    version: str
    binaries: str

    def write(self, place: Place) -> None:
        """Tell all holders, at once and in full."""
        write_own(place.report, json.dumps(asdict(self)), durably=False)

    @classmethod
    def read(cls, place: Place) -> Report | None:
        """Read what the supervisor tells; None if no server takes connections."""
        try:
            return cls(**json.loads(place.report.read_text()))
        except FileNotFoundError:
            return None


def prepare(directory: Path) -> Place:
    """Make the directory if it is missing; one that exists keeps its mode. Raises CannotStart."""
    directory = Path(os.path.abspath(directory))  # noqa: PTH100 (resolve() would lengthen a linked path)
    # Without user namespaces root's server runs as another user, who then has to pass through.
    mode = 0o711 if os.geteuid() == 0 else 0o700
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            directory.mkdir(mode=mode)
    except OSError as error:
        raise CannotStart(
            f"The directory {directory} for the database cannot be made: {error.strerror}. "
            "Set GROAT_DATA_DIR to one that you can write to, or DATABASE_URL to a server."
        ) from error
    if not directory.is_dir() or not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise CannotStart(
            f"{directory} is no directory that user {os.geteuid()} may write to. Run Groat as its owner, or set "
            "GROAT_DATA_DIR to another place, or DATABASE_URL to a server."
        )
    return Place(directory)


def open_own(path: Path, flags: int) -> int:
    """Open a file of ours, made if missing: 0600, and its directory's owner owns it even if root made it."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def write_own(path: Path, text: str, *, durably: bool = True) -> None:
    """Replace a file of ours: readers (if `durably`, the disk after a power cut) have the old text or the new."""
    draft = path.with_name(f"{path.name}.new")
    with os.fdopen(open_own(draft, os.O_WRONLY | os.O_TRUNC), "w") as file:
        file.write(text)
        file.flush()
        if durably:
            os.fsync(file.fileno())
    draft.replace(path)


def open_log(place: Place) -> int:
    """Open the log to add to; a long one is put aside first, so that two such files are the most there is."""
    with suppress(FileNotFoundError):
        if place.log.stat().st_size > LOG_BYTES_MAX:
            place.log.replace(place.log.with_name(f"{place.log.name}.1"))
    return open_own(place.log, os.O_WRONLY | os.O_APPEND)


def log_tail(place: Place, *, since: int) -> str:
    """Read the last of what was logged after byte `since`, for the message of a failed start."""
    with place.log.open("rb") as log:
        log.seek(max(since, place.log.stat().st_size - TAIL_BYTES))
        return log.read().decode(errors="replace").strip() or "(nothing was logged)"


def cannot_use(place: Place, error: OSError) -> CannotStart:
    """Word the refusal for what the operating system denied us in the directory."""
    what = f"{error.strerror}: {error.filename}" if error.filename else str(error)
    return CannotStart(
        f"The embedded PostgreSQL cannot use {place.directory} ({what}). It needs a local disk with 100 MB free and "
        "every file there to be its own; set GROAT_DATA_DIR to another place, or DATABASE_URL to a server."
    )
