"""The file of bad rows beside an import: line, reason and raw text of each, in order of lines, none of them twice."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.errors import Conflict, GroatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_HEADER = "line,reason,raw\n"


@dataclass(frozen=True, slots=True)
class Reject:
    """A bad row: the physical line it begins at, why it was not charged, and its text as it stood."""

    line: int
    reason: str
    raw: bytes


class RejectsFile:
    """Takes bad rows in order of their lines. The file is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def resume(self, next_line: int) -> None:
        """Forget what an earlier run wrote of `next_line` and after: those rows come again.

        Raises Conflict (rejects_exist) where the path holds something else, which is left alone.
        """
        try:
            text = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unusable(self._path, error) from error
        if not text.startswith(_HEADER.encode()):
            raise Conflict(f"{self._path} exists and is not a file of rejected rows.", code="rejects_exist")
        kept = _length_before(text, next_line)
        try:
            if kept == len(_HEADER):
                self._path.unlink()
            elif kept < len(text):
                os.truncate(self._path, kept)
        except OSError as error:
            raise _unusable(self._path, error) from error

    def append(self, rejects: Sequence[Reject]) -> None:
        """Write these rows; they are on the disk once it returns. Raises GroatError (rejects_unusable)."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for reject in rejects:
            writer.writerow((reject.line, reject.reason, reject.raw.decode("utf-8", "backslashreplace")))
        try:
            with self._path.open("ab") as stream:
                if stream.tell() == 0:
                    stream.write(_HEADER.encode())
                stream.write(text.getvalue().encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise _unusable(self._path, error) from error


def _length_before(text: bytes, next_line: int) -> int:
    """Return the bytes of the header and of the records before `next_line`; one that a crash has torn is left out."""
    kept = end = len(_HEADER)
    quotes = 0
    while (newline := text.find(b"\n", end)) >= 0:
        quotes += text.count(b'"', end, newline)
        end = newline + 1
        if quotes % 2 == 0:
            line = text[kept : text.find(b",", kept)]
            if not line.isdigit() or int(line) >= next_line:
                break
            kept = end
    return kept


def _unusable(path: Path, error: OSError) -> GroatError:
    return GroatError(f"The file of rejected rows cannot be used: {error.strerror} ({path}).", code="rejects_unusable")
