"""Documents that are run: their blocks, a real service with sample data to run them against, and how each kind is run.

What each kind of block means is in CONTRIBUTING.md ("Documents are run").
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.embedded.binaries import find_binaries
from tests.services import environment, start

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if not path.name.startswith(".")
)
LANGUAGES = {"bash", "sql", "python", "json", "console", "text"}
NOT_RUN = re.compile(r"(make|git|pip|export) |(\.venv/bin/)?groat up\b")
"""Lines of a session that are checked but not run: they install, need a terminal of their own, or would never end."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_NUMBER = re.compile(r"-?\d[\d.]*")
_BLOCK_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, its text, and where it begins."""

    document: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    @property
    def session(self) -> list[tuple[str, list[str]]]:
        """The commands of a `console` block, each with the lines shown under it."""
        steps: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                steps.append((line.removeprefix("$ ").split("   #")[0].strip(), []))
            elif steps:
                steps[-1][1].append(line)
        return steps

    @property
    def commands(self) -> list[str]:
        """The command lines of a block that has any."""
        if self.language == "console":
            return [command for command, _ in self.session]
        return self.text.replace("\\\n", " ").splitlines() if self.language == "bash" else []


def text_of(document: str) -> str:
    """Return a document's text."""
    return (ROOT / document).read_text("utf-8")


def blocks_of(document: str) -> list[Block]:
    """Return a document's fenced blocks, in order."""
    text = text_of(document)
    return [
        Block(document, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in _FENCE.finditer(text)
    ]


def prose_of(document: str) -> str:
    """Return a document's text without its blocks."""
    return _FENCE.sub("", text_of(document))


def inline_code(document: str) -> list[str]:
    """Return what stands between single backquotes."""
    return _INLINE.findall(prose_of(document))


@dataclass(frozen=True, slots=True)
class Demo:
    """A running `groat up --demo`: where it listens, and the environment of a shell beside it."""

    port: int
    database_url: str
    environment: dict[str, str]

    def here(self, text: str) -> str:
        """Return a document's text with its addresses and programs replaced by those of this machine."""
        text = text.replace("localhost:8000", f"localhost:{self.port}")
        return text.replace(".venv/bin/groat", "groat")


_running: list[Demo] = []


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Lend the session's one service with sample data, whichever module asks first."""
    if _running:
        yield _running[0]
        return
    directory = tmp_path_factory.mktemp("demo")
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}:{find_binaries(None)}"
    variables = environment(PATH=path, GROAT_DATA_DIR=str(directory / "data"))
    service = start(["up", "--demo"], variables, directory / "service.log")
    try:
        service.wait_until_ready()
        variables["GROAT_PORT"] = str(service.port)
        _running.append(Demo(service.port, _run(["groat", "db", "url"], variables, directory).strip(), variables))
        yield _running[0]
    finally:
        _running.clear()
        try:
            service.stop()
        finally:
            service.process.kill()
            service.process.wait()


def _run(command: list[str], environment: dict[str, str], directory: Path) -> str:
    done = subprocess.run(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BLOCK_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(slots=True)
class Reader:
    """Somebody who types a document in, from its first block to its last, in a directory that has check_credits.sql."""

    demo: Demo
    directory: Path
    _state: Path = field(init=False)
    _printed: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._state = self.directory / ".shell-state"
        self._state.touch()
        (self.directory / "check_credits.sql").symlink_to(ROOT / "check_credits.sql")

    def follow(self, document: str) -> None:
        """Run every block of a document."""
        for block in blocks_of(document):
            printed, self._printed = self._printed, None
            try:
                match block.language:
                    case "bash":
                        self._printed = self._shell(block.text)
                    case "sql":
                        self.query(block.text)
                    case "python":
                        self._script(block.text)
                    case "json":
                        _compare_json(printed, block.text)
                    case "console":
                        self._session(block)
                    case language:
                        assert language in LANGUAGES, f"{language!r} is no kind of block"
            except AssertionError as error:
                raise AssertionError(f"{block}: {error}") from error

    def query(self, text: str) -> str:
        """Run SQL and return what psql prints."""
        file = self.directory / "block.sql"
        file.write_text(text)
        url = self.demo.database_url
        return _run(
            ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-f", str(file), url], self.demo.environment, self.directory
        )

    def _shell(self, text: str) -> str:
        """Run a script of bash; what it assigns, the next block knows."""
        lines = ["set -euo pipefail", f". {self._state}", "set -a", self.demo.here(text), f"export -p > {self._state}"]
        return _run(["bash", "-c", "\n".join(lines)], self.demo.environment, self.directory)

    def _script(self, text: str) -> None:
        file = self.directory / "block.py"
        file.write_text(self.demo.here(text))
        self._shell(f"{sys.executable} -W error {file}")

    def _session(self, block: Block) -> None:
        for command, shown in block.session:
            # What `make demo` adds to `groat demo` is the installation (tested where the Makefile is).
            typed = "groat demo" if command == "make demo" else command
            if NOT_RUN.match(f"{typed} "):
                continue
            _compare_output(self._shell(typed), shown)


def _compare_json(printed: str | None, documented: str) -> None:
    assert printed is not None, "a json block stands right after the bash block that prints it"
    differences = list(_differences("$", json.loads(documented), json.loads(printed)))
    assert not differences, "\n".join(differences)


def _differences(where: str, documented: Any, actual: Any) -> Iterator[str]:
    """Yield where two JSON values differ in keys or kinds; of a list the first element speaks for all."""
    if documented is None or actual is None:
        return
    if isinstance(documented, dict) and isinstance(actual, dict):
        if documented.keys() != actual.keys():
            yield f"{where} is documented with {sorted(documented)} and has {sorted(actual)}"
        for key in documented.keys() & actual.keys():
            yield from _differences(f"{where}.{key}", documented[key], actual[key])
    elif isinstance(documented, list) and isinstance(actual, list):
        if not documented or not actual:
            yield f"{where} is empty, documented or answered"
        else:
            yield from _differences(f"{where}[0]", documented[0], actual[0])
    elif _kind(documented) != _kind(actual):
        yield f"{where} is documented as {_kind(documented)} and is {_kind(actual)}"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, int | float) else type(value).__name__


def _compare_output(actual: str, shown: list[str]) -> None:
    """Assert that an output is what a session shows, figures, addresses and white space aside."""
    if not shown:
        return
    expected = "".join(_line_pattern(line) for line in map(_plain, shown) if line)
    lines = "".join(f"{line}\n" for line in map(_plain, actual.splitlines()) if line)
    assert re.fullmatch(expected, lines), f"the session shows\n{chr(10).join(shown)}\nand the command printed\n{actual}"


def _plain(line: str) -> str:
    return re.sub(r"─+", "─", " ".join(line.split()))


def _line_pattern(line: str) -> str:
    if line == "…":
        return r"(?:.*\n)*"
    words = (r"\S+@\S+" if re.fullmatch(r"\S+@\S+", word) else _word_pattern(word) for word in line.split(" "))
    return " ".join(words) + r"\n"


def _word_pattern(word: str) -> str:
    kept = (re.escape(part).replace("…", ".*") for part in _NUMBER.split(word))
    return r"-?\d[\d.]*".join(kept)
