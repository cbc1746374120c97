"""Records the quickstart as a picture that plays: `python -m scripts.recording`, or `make recording`.

The commands really run, in a terminal of their own, with a directory and a port of their own. What they print is kept
with its time, colours and all; pauses are shortened, secrets and the machine's own addresses replaced. The picture is
an SVG that needs nothing else, and is still where the reader wants no motion.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shlex
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.style import Style

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs/assets/quickstart.svg"
_USE = "--model claude-3-5-sonnet --input-tokens 1000 --output-tokens 500"
COMMANDS = (
    ("make demo", "groat demo"),
    (
        f".venv/bin/groat charge user@example.com --action ai_chat_message \\\n    {_USE}",
        f"groat charge user@example.com --action ai_chat_message {_USE}",
    ),
    (".venv/bin/groat report top-consumers --limit 5", "groat report top-consumers --limit 5"),
)
"""What is shown as typed, and what runs. `make demo` is `groat demo` after the installation."""

COLUMNS, ROWS = 120, 60
_CHARACTER, _LINE, _MARGIN, _BAR = 7.2, 17, 16, 30
_PAUSE_MAX, _TYPED, _AFTER = 1.6, 0.025, 0.9
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]|\x1b\][^\x07]*\x07|\x1b[=>()][0-9A-Z]?")
_SECRET = re.compile(r"(groat_)?(?=[\w-]*[0-9])(?=[\w-]*[A-Za-z])[\w-]{24,}")
"""Tokens and what signs somebody in: long, with letters and digits."""
_PLAIN = Console(width=COLUMNS, no_color=False)
_DARK = [(92, 99, 112), (240, 113, 120), (126, 211, 133), (240, 196, 108)]
_DARK += [(116, 178, 255), (202, 158, 255), (102, 214, 220), (214, 219, 228)]
_BRIGHT = [(132, 140, 154), (255, 138, 143), (154, 231, 160), (255, 215, 135)]
_BRIGHT += [(147, 196, 255), (218, 184, 255), (137, 233, 238), (255, 255, 255)]
_COLOURS = TerminalTheme((16, 20, 28), (214, 219, 228), _DARK, _BRIGHT)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the terminal: when it appears, its text with its colours, whether somebody types it."""

    at: float
    text: Text
    typed: bool = False


def record(commands: Sequence[tuple[str, str]], variables: Mapping[str, str]) -> list[Line]:
    """Run the commands one after another; return what a reader sees, with its times."""
    lines: list[Line] = []
    clock = 0.4
    for shown, command in commands:
        for number, part in enumerate(shown.split("\n")):
            prompt = "$ " if number == 0 else "> "
            lines.append(Line(clock, Text.assemble((prompt, "bright_black"), (part, "bold")), typed=True))
            clock += _TYPED * len(part)
        clock += 0.3
        before = 0.0
        for moment, text in _run(shlex.split(command), variables):
            clock += min(moment - before, _PAUSE_MAX)
            before = moment
            lines += [Line(clock, part) for part in _wrapped(Text.from_ansi(text))]
        clock += _AFTER
    return _without_double_blanks(lines)


def _run(command: list[str], variables: Mapping[str, str]) -> Iterator[tuple[float, str]]:
    """Run a command in a terminal; yield each line that it prints, with the seconds that have passed."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=dict(variables), start_new_session=True)
    os.close(end)
    pending = ""
    with closing(os.fdopen(terminal, "rb", buffering=0)) as output:
        # A service in the background may keep the terminal open: what counts is that the command has ended.
        while (ready := select.select([output], [], [], 0.2)[0]) or process.poll() is None:
            try:
                pending += output.read(65536).decode("utf-8", "replace") if ready else ""
            except OSError:  # how Linux says that nobody is left to write
                break
            *whole, pending = pending.split("\n")
            yield from ((time.monotonic() - began, _seen(line)) for line in whole)
    if process.wait():
        raise SystemExit(f"{' '.join(command)} has failed:\n{pending}")


def _seen(line: str) -> str:
    """Return what is left to see of a line: after the last return to its start, without moves of the cursor."""
    return _CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2])


def _wrapped(text: Text) -> list[Text]:
    """Return a line as the lines that a terminal breaks it into."""
    return list(text.divide(range(COLUMNS, text.cell_len, COLUMNS)))


def _without_double_blanks(lines: list[Line]) -> list[Line]:
    kept: list[Line] = []
    for line in lines:
        if line.text.plain.strip() or (kept and kept[-1].text.plain.strip()):
            kept.append(line)
    return kept


def masked(line: Line, addresses: Mapping[str, str]) -> Line:
    """Return the line with no secret in it, and with the addresses that a reader would have."""
    text = line.text.copy()
    for ours, theirs in addresses.items():
        text = _replaced(text, re.compile(re.escape(ours)), theirs)
    return Line(line.at, _replaced(text, _SECRET, r"\1…"), line.typed)


def _replaced(text: Text, pattern: re.Pattern[str], replacement: str) -> Text:
    """Return a text in which whatever matches is replaced, in the colours of its first character."""
    whole = Text()
    position = 0
    for match in pattern.finditer(text.plain):
        new = Text(match.expand(replacement) if "\\" in replacement else replacement)
        new.stylize(text.get_style_at_offset(_PLAIN, match.start()))
        whole = whole + text[position : match.start()] + new
        position = match.end()
    return whole + text[position:]


def draw(lines: Sequence[Line]) -> str:
    """Return the recording as SVG."""
    width = round(COLUMNS * _CHARACTER + 2 * _MARGIN)
    height = _BAR + _LINE * len(lines) + 2 * _MARGIN
    parts = [_head(width, height)]
    for number, line in enumerate(lines):
        y = _BAR + _MARGIN + _LINE * (number + 1) - 4
        columns = line.text.cell_len
        if not line.text.plain.strip():
            continue
        kind = f"t n{columns}" if line.typed else "l"
        parts.append(f'<text class="{kind}" y="{y}" style="animation-delay:{line.at:.2f}s">{_spans(line.text)}</text>')
    typed = sorted({line.text.cell_len for line in lines if line.typed})
    steps = "".join(f".n{count}{{animation:type {count * _TYPED:.2f}s steps({count}) both}}" for count in typed)
    return "".join([*parts, f"<style>@media (prefers-reduced-motion:no-preference){{{steps}}}</style></svg>\n"])


def _head(width: int, height: int) -> str:
    background = _hex(_COLOURS.background_color)
    dots = "".join(f'<circle cx="{20 + 16 * number}" cy="17" r="5" fill="#3a4252"/>' for number in range(3))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        'aria-label="A terminal: make demo starts the service, a use is charged, a report is printed">'
        "<style>text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;"
        f"white-space:pre;fill:{_hex(_COLOURS.foreground_color)}}}.b{{font-weight:700}}.d{{opacity:.65}}"
        "@keyframes show{from{visibility:hidden}to{visibility:visible}}"
        "@keyframes type{from{clip-path:inset(0 100% 0 0)}to{clip-path:inset(0 -9% 0 0)}}"
        "@media (prefers-reduced-motion:no-preference){.l{animation:show 1ms both}}</style>"
        f'<rect width="{width}" height="{height}" rx="8" fill="{background}"/>'
        f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8" fill="none" stroke="#3a4252"/>{dots}'
    )


def _spans(text: Text) -> str:
    """Return a line's text in its colours, each run at its own column, as wide as a terminal would have it."""
    spans = []
    column = 0
    for segment in text.render(_PLAIN):
        words = segment.text.rstrip("\n")
        length = Text(words).cell_len
        if words.strip():
            lead = len(words) - len(words.lstrip(" "))
            x = _MARGIN + _CHARACTER * (column + lead)
            size = f'textLength="{_CHARACTER * Text(words.strip(" ")).cell_len:.1f}"'
            spans.append(f'<tspan x="{x:.1f}" {size}{_look(segment.style)}>{escape(words.strip(" "))}</tspan>')
        column += length
    return "".join(spans)


def _look(style: Style | None) -> str:
    """Return a style as attributes."""
    if style is None:
        return ""
    kinds = " ".join(kind for kind, has in (("b", style.bold), ("d", style.dim)) if has)
    colour = "" if style.color is None or style.color.is_default else _hex(style.color.get_truecolor(_COLOURS))
    return (f' class="{kinds}"' if kinds else "") + (f' fill="{colour}"' if colour else "")


def _hex(colour: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def main() -> None:
    """Record, and write the picture."""
    with tempfile.TemporaryDirectory(prefix="groat-recording-") as directory:
        with closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        own = {"GROAT_DATA_DIR": directory, "GROAT_PORT": str(port), "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GROAT_", "DATABASE_URL", "NO_COLOR"))
        }
        variables = {**kept, **own, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"}
        try:
            lines = record(COMMANDS, variables)
        finally:
            subprocess.run(["groat", "stop"], env=variables, capture_output=True, check=False)  # noqa: S607 - ours, by PATH
    addresses = {
        f"localhost:{port}": "localhost:8000",
        f"127.0.0.1:{port}": "127.0.0.1:8000",
        directory: "~/.local/share/groat",
    }
    picture = draw([masked(line, addresses) for line in lines])
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
