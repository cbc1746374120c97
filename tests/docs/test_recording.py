"""The recording of the quickstart is a picture that needs nothing else and gives nothing away."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from rich.text import Text

from scripts.recording import COLUMNS, COMMANDS, PICTURE, Line, draw, masked, record
from scripts.site import external_loads
from tests.docs_blocks import text_of
from tests.services import environment

if TYPE_CHECKING:
    from pathlib import Path

_SVG = "{http://www.w3.org/2000/svg}"
_TOKEN = "groat_9fK2aB7cD1eF3gH5iJ7kL9mN1oP3qR5sT7uV9wX1yZ"


def _read(picture: str) -> list[tuple[float, str]]:
    """Return the lines of a picture with the seconds after which each appears."""
    root = ET.fromstring(picture)  # noqa: S314 - our own
    return [
        (float(line.get("style", "").removeprefix("animation-delay:").removesuffix("s")), "".join(line.itertext()))
        for line in root.iter(f"{_SVG}text")
    ]


def test_the_picture_is_small_and_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / PICTURE.name).write_text(PICTURE.read_text("utf-8"))
    assert len(PICTURE.read_bytes()) < 150_000
    assert list(external_loads(tmp_path)) == []


def test_the_picture_shows_each_command_and_what_it_printed() -> None:
    shown = [text for _, text in _read(PICTURE.read_text("utf-8"))]
    for typed, _ in COMMANDS:
        for part in typed.split("\n"):
            assert any(part.strip() in text for text in shown), part
    assert any("service ready on http://localhost:8000" in text for text in shown)
    assert any("charged 0.105 credits" in text for text in shown)
    assert any("Top consumers" in text for text in shown)


def test_the_first_command_is_that_of_the_readme() -> None:
    assert f"$ {COMMANDS[0][0]}\n" in text_of("README.md")


def test_the_picture_has_no_secret_and_no_path_of_a_machine() -> None:
    text = " ".join(text for _, text in _read(PICTURE.read_text("utf-8")))
    assert not re.search(r"groat_\w{4,}", text)
    assert not re.search(r"/(tmp|home|root|work|var)/|127\.0\.0\.1", text)
    assert re.findall(r"localhost:(\d+)", text) == ["8000"] * text.count("localhost:")


@pytest.mark.parametrize(
    ("printed", "seen"),
    [
        (f"TOKEN={_TOKEN}", "TOKEN=groat_…"),
        (
            f"http://localhost:8123/ui/login?code={_TOKEN.removeprefix('groat_')}",
            "http://localhost:8000/ui/login?code=…",
        ),
        ("marek.kowalski@example.net  -46.07976785", "marek.kowalski@example.net  -46.07976785"),
        ("in /tmp/abc/credentials.json", "in ~/.local/share/groat/credentials.json"),
    ],
)
def test_secrets_and_addresses_are_replaced(printed: str, seen: str) -> None:
    ours = {"localhost:8123": "localhost:8000", "/tmp/abc": "~/.local/share/groat"}  # noqa: S108 - an example
    assert masked(Line(0, Text(printed)), ours).text.plain == seen


def test_what_a_terminal_would_have_overwritten_is_not_seen(tmp_path: Path) -> None:
    """And what is wider than it is broken, colours are kept, and times never go back."""
    script = tmp_path / "command.py"
    script.write_text("print('starting', end='\\r\\x1b[K'); print('\\x1b[32mready\\x1b[0m'); print('x' * 150)")
    lines = record([("command", f"{sys.executable} {script}")], environment())
    assert [line.text.plain for line in lines] == ["$ command", "ready", "x" * COLUMNS, "x" * (150 - COLUMNS)]
    assert sorted(line.at for line in lines) == [line.at for line in lines]
    picture = draw(lines)
    assert 'fill="#7ed385">ready<' in picture
    assert [text for _, text in _read(picture)][1] == "ready"
