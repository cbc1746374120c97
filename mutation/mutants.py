"""The lists of mutants: what each changes, why, and which tests must notice. Kept as data, in the TOML files here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mutation.copies import ROOT

if TYPE_CHECKING:
    from pathlib import Path

LISTS = {name: ROOT / "mutation" / f"{name}.toml" for name in ("sql", "seeded")}


class DoesNotApply(ValueError):
    """The text that a mutant changes does not stand exactly once in its file."""


@dataclass(frozen=True, slots=True)
class Change:
    """One replacement: `find` stands exactly once in `file`."""

    file: str
    find: str
    replace: str

    def applied(self, text: str) -> str:
        """Return the file's text with this change. Raises DoesNotApply."""
        if (times := text.count(self.find)) != 1:
            raise DoesNotApply(f"{self.file} has this {times} times: {self.find!r}")
        return text.replace(self.find, self.replace)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug. `why` says what it breaks; `tests` are files or node ids, of which at least one must fail."""

    name: str
    why: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...]

    def mutated(self, tree: Path) -> dict[Path, str]:
        """Return the new text of each file of the tree that changes. Raises DoesNotApply."""
        texts: dict[Path, str] = {}
        for change in self.changes:
            file = tree / change.file
            texts[file] = change.applied(texts.get(file) or file.read_text())
        return texts


def load(name: str) -> list[Mutant]:
    """Return the mutants of a list."""
    document = tomllib.loads(LISTS[name].read_text())
    return [
        Mutant(
            entry["name"],
            entry["why"],
            tuple(Change(each["file"], each["find"], each["replace"]) for each in (entry, *entry.get("also", ()))),
            tuple(entry["tests"]),
        )
        for entry in document["mutant"]
    ]
