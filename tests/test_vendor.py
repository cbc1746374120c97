"""What was taken from npm is what npm has: the lock says so of each file, and each package brings its licence."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.vendor import ROOT, locked, sha256, wanted

FOLDERS = (ROOT / "src/groat_server/http/dashboard/static/vendor", ROOT / "tests/browser/vendor")


def test_every_vendored_file_is_listed_and_locked() -> None:
    there = {str(path.relative_to(ROOT)) for folder in FOLDERS for path in folder.iterdir()}
    assert there == {file["to"] for file in wanted()} == set(locked())


@pytest.mark.parametrize("path", locked())
def test_a_vendored_file_is_what_the_lock_says(path: str) -> None:
    assert sha256((ROOT / path).read_bytes()) == locked()[path]


def test_every_package_brings_its_licence() -> None:
    packages = {file["package"] for file in wanted()}
    licensed = {file["package"] for file in wanted() if Path(file["to"]).suffix == ".LICENSE"}
    assert licensed == packages
    assert all(file["licence"] for file in wanted())
