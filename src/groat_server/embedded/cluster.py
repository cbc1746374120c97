"""The cluster: PostgreSQL's files, made once, complete and on disk before they get their name."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from groat_server.embedded.place import write_own
from groat_server.embedded.waiting import wait_for
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from pathlib import Path

    from groat_server.embedded.place import Place
    from groat_server.embedded.programs import Programs

BUILTIN_LOCALES_SINCE: Final = 17
DRAFT_PREFIX: Final = "initializing-"
REMOVAL_SECONDS: Final = 10

# Written once into postgresql.conf, where whoever runs Groat may change them. Nothing here trades safety for speed.
SETTINGS: Final = """
# Groat's additions; ALTER SYSTEM or later lines override them.
timezone = 'UTC'
log_timezone = 'UTC'
max_connections = 200
shared_buffers = '256MB'
jit = off                      # the statements are short; compiling them costs more than it saves
random_page_cost = 1.1         # a solid-state disk
wal_compression = on
checkpoint_timeout = '15min'   # fewer full pages in the log; recovery takes seconds
max_wal_size = '2GB'
"""

ACCESS: Final = """\
# By password only, over the unix socket and from this machine.
local all,replication all scram-sha-256
host  all,replication all 127.0.0.1/32 scram-sha-256
host  all,replication all ::1/128 scram-sha-256
"""


def ensure_cluster(place: Place, programs: Programs, *, version: str, durably: bool) -> None:
    """Make the cluster if there is none, else see that it fits `version` and that its password is known.

    Raises CannotStart.
    """
    for draft in place.directory.glob(f"{DRAFT_PREFIX}*"):
        _clear_draft(draft)
    major = version.split(".", maxsplit=1)[0]
    if not place.cluster.exists():
        _make(place, programs, major=int(major), durably=durably)
        return
    stored = _stored_major(place.cluster)
    if stored != major:
        raise CannotStart(
            f"{place.cluster} was made by PostgreSQL {stored}, the programs in {programs.binaries} are {version}, and "
            f"a major version does not read another's files. Dump it with PostgreSQL {stored} (pg_dumpall), move the "
            "directory away, start Groat and restore; or run the old server yourself and set DATABASE_URL to it."
        )
    if not place.password.exists():
        _run_alone(programs, place.cluster, _set_password(place))


def _clear_draft(draft: Path) -> None:
    """Remove what a killed start left, also while its initdb is still at it."""

    def is_removed() -> bool:
        shutil.rmtree(draft, ignore_errors=True)
        return not draft.exists()

    if not wait_for(is_removed, seconds=REMOVAL_SECONDS):
        raise CannotStart(f"{draft}, left by a start that was killed, cannot be removed. Remove it, then start again.")


def _stored_major(cluster: Path) -> str:
    try:
        return (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise CannotStart(
            f"{cluster} is there but holds no PostgreSQL database. Move it away, or set GROAT_DATA_DIR elsewhere."
        ) from None


def _make(place: Place, programs: Programs, *, major: int, durably: bool) -> None:
    draft = place.directory / f"{DRAFT_PREFIX}{os.getpid()}"
    draft.mkdir(mode=0o700)
    programs.identity.give(draft)
    try:
        _fill(place, programs, draft, major=major)
        if durably:
            programs.run("initdb", "--sync-only", f"--pgdata={draft}")
        draft.rename(place.cluster)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    _sync_directory(place.directory)


def _fill(place: Place, programs: Programs, draft: Path, *, major: int) -> None:
    locale = ["--locale=C"]
    if major >= BUILTIN_LOCALES_SINCE:
        locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    programs.run(
        "initdb",
        f"--pgdata={draft}",
        "--username=groat",
        "--encoding=UTF8",
        *locale,
        "--data-checksums",
        "--auth=trust",  # never served: replaced below
        "--no-sync",
        "--no-instructions",
    )
    with (draft / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS)
    (draft / "pg_hba.conf").write_text(ACCESS)
    _run_alone(programs, draft, "CREATE DATABASE groat;\n" + _set_password(place), "-F")


def _set_password(place: Place) -> str:
    """Compose the statement that gives `groat` the password in the file, which is made first if missing."""
    if not place.password.exists():
        write_own(place.password, os.urandom(24).hex())
    return f"ALTER ROLE groat PASSWORD '{place.password.read_text()}';\n"


def _run_alone(programs: Programs, cluster: Path, statements: str, *arguments: str) -> None:
    """Run statements, one a line, in a cluster that has no server. Raises CannotStart."""
    strict = ("-c", "exit_on_error=on")  # else a failed statement is only printed
    programs.run("postgres", "--single", *strict, *arguments, "-D", str(cluster), "postgres", entered=statements)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
