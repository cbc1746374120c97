"""The README works as it stands: what it shows is what a reader gets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs_blocks import ROOT, Demo, Reader, blocks_of, demo, text_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["demo"]


def test_every_block_of_the_readme_works(demo: Demo, tmp_path: Path) -> None:
    Reader(demo, tmp_path).follow("README.md")


def test_the_first_screen_is_one_sentence_the_quickstart_and_a_snippet() -> None:
    languages = [block.language for block in blocks_of("README.md")]
    assert languages[:3] == ["console", "bash", "python"]
    sentence = text_of("README.md").split("\n\n")[1]
    assert re.sub(r"\s+", " ", sentence).count(". ") == 0


def test_make_demo_is_groat_demo_after_the_installation() -> None:
    """Which is why the tests may run `groat demo` where the README says `make demo`."""
    recipe = re.search(r"^demo:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert recipe[1] == "@$(BIN)/groat demo"


@pytest.mark.parametrize("version", re.findall(r"3\.\d+", (ROOT / "pyproject.toml").read_text())[:1])
def test_the_readme_asks_for_the_python_that_the_package_asks_for(version: str) -> None:
    assert f"Python {version} or newer" in text_of("README.md")
