"""The tutorial and the how-to guides work as they stand: who types them in gets what they show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.docs_blocks import ROOT, Reader, blocks_of, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.docs_blocks import Demo

_GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/howto").glob("*.md"))
_INDEX = "docs/howto/index.md"


def test_every_step_of_the_tutorial_works_and_prints_what_it_shows(fresh: Demo, tmp_path: Path) -> None:
    Reader(fresh, tmp_path).follow("docs/tutorial.md")


def test_the_tutorial_shows_what_its_commands_print() -> None:
    """Who only runs a command has not seen that it did the right thing."""
    silent = [
        command
        for block in blocks_of("docs/tutorial.md")
        for command, shown in block.session
        if not shown and not re.match(r"make |\.venv/bin/groat up", command)
    ]
    assert silent == []


@pytest.mark.parametrize("guide", [guide for guide in _GUIDES if guide != _INDEX])
def test_every_block_of_a_guide_works(guide: str, playground: Demo, tmp_path: Path) -> None:
    Reader(playground, tmp_path).follow(guide)


def test_the_guides_are_all_in_their_index() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", text_of(_INDEX))
    assert sorted(f"docs/howto/{name}" for name in linked) == [guide for guide in _GUIDES if guide != _INDEX]
