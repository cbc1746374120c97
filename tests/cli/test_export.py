"""`groat export`: which form, to where, and whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from groat_server.operations.reports import REPORTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Groat


@pytest.fixture(scope="module")
def person(groat: Groat) -> str:
    """Make a user who has used something of a hostile name."""
    email = "export@example.com"
    assert groat("user", "add", email, "--name", "=1+1").code == 0
    for number in range(3):
        assert groat("charge", email, "--action", "unit", "--quantity", "1.5", "--key", f"e{number}").code == 0
    return email


def given(name: str, person: str) -> list[str]:
    said = {"user": person, "priced": "lamp", "kind": "model"}
    needed = [parameter.name for parameter in REPORTS[name].parameters if parameter.is_required]
    return [word for key in needed for word in (f"--{key}", said[key])]


@pytest.mark.parametrize("name", REPORTS)
def test_each_report_is_written_in_each_form(groat: Groat, person: str, name: str, tmp_path: Path) -> None:
    columns = list(REPORTS[name].columns)
    command = ["export", name, *given(name, person)]
    counts = set()
    for form in ("csv", "xlsx", "parquet"):
        file = tmp_path / f"{name}.{form}"
        told = groat(*command, "-o", str(file))
        assert told.code == 0, told.err
        assert f"rows in {tmp_path}" in told.out.replace("\n", "")
        counts.add(told.out.split()[1])
    assert len(counts) == 1
    with (tmp_path / f"{name}.csv").open(newline="") as text:
        assert next(csv.reader(text)) == columns
    assert zipfile.is_zipfile(tmp_path / f"{name}.xlsx")
    assert parquet.read_table(tmp_path / f"{name}.parquet").column_names == columns
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".parquet", ".xlsx"], "nothing else is left"


def test_without_a_file_it_is_csv_on_standard_output(groat: Groat, person: str) -> None:
    told = groat("export", "users")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert [row["full_name"] for row in rows if row["email"] == person] == ["'=1+1"]
    assert " rows" not in told.err, "no progress where there is no terminal"
    assert groat("report", "users", "--csv").out == told.out, "one writer"
    assert groat("export", "users", "--csv", "--bom").out == "\ufeff" + told.out


def test_a_form_that_is_said_goes_before_the_files_name(groat: Groat, tmp_path: Path) -> None:
    file = tmp_path / "report.data"
    assert groat("export", "overview", "--parquet", "-o", str(file)).code == 0
    assert file.read_bytes().startswith(b"PAR1")
    assert groat("export", "overview", "--csv", "--bom", "-o", str(file)).code == 0
    assert file.read_bytes().startswith(b"\xef\xbb\xbfaction_type,")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["export", "nonsense"], "There is no report"),
        (["export", "users", "--csv", "--xlsx"], "one form"),
        (["export", "users", "-o", "report.txt"], "--csv, --xlsx or --parquet"),
        (["export", "users", "--xlsx", "--bom", "-o", "users.xlsx"], "--bom"),
        (["export", "users", "-o", "no-such-directory/users.csv"], "no-such-directory"),
        (["export", "users", "--limit", "0"], "limit"),
        (["export", "users", "--limit", "1048576", "--xlsx", "-o", "users.xlsx"], "limit"),
        (["export", "overview", "--search", "x"], "search"),
        (["export", "user-events"], "user"),
        (["export", "user-events", "--user", "nobody@example.com", "-o", "users.csv"], "Nobody is known"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    groat: Groat, command: list[str], told: str, tmp_path: Path
) -> None:
    ended = groat(*[f"{tmp_path}/{word}" if word.startswith("users.") else word for word in command])
    assert ended.code == 1, ended
    assert told in ended.err
    assert ended.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(groat: Groat, tmp_path: Path) -> None:
    """Taken out: the partial file; then what was there is emptied before the report is refused."""
    file, link = tmp_path / "users.csv", tmp_path / "link.csv"
    file.write_text("old")
    link.symlink_to(file)
    assert groat("export", "user-events", "--user", "nobody@example.com", "-o", str(file)).code == 1
    assert file.read_text() == "old"
    assert groat("export", "users", "-o", str(link)).code == 0
    assert link.is_symlink()
    assert file.read_text().startswith("user_id,")
    assert sorted(tmp_path.iterdir()) == [link, file]


def test_what_is_no_regular_file_is_written_to_as_it_is(groat: Groat) -> None:
    assert groat("export", "users", "--csv", "-o", "/dev/null").code == 0
    assert os.stat("/dev/null").st_rdev != 0  # noqa: PTH116 - it is a device still
    assert groat("export", "users", "--csv", "-o", "/dev/full").code == 1


@pytest.mark.parametrize("form", ["xlsx", "parquet"])
def test_no_bytes_are_written_to_a_terminal_and_progress_is_shown_on_one(groat: Groat, person: str, form: str) -> None:
    code, shown = in_terminal(groat, "export", "users", f"--{form}")
    assert (code, "-o FILE" in shown) == (1, True), shown
    code, shown = in_terminal(groat, "export", "users")
    assert code == 0
    assert person in shown
    assert " rows" in shown


def in_terminal(groat: Groat, *command: str) -> tuple[int, str]:
    """Run a command whose output goes to a terminal; returns its code and what is seen."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "groat_server", *command],
        env=dict(groat.variables),
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    with suppress(OSError):  # the terminal is gone when the process is
        while piece := os.read(leader, 2**16):
            seen += piece
    os.close(leader)
    return process.wait(), seen.decode()
