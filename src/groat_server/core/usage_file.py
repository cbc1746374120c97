"""Usage logs as files: physical lines in, records out, one at a time, so that a file of any size takes little memory.

Two formats: CSV (RFC 4180, with a header) and JSON Lines. What the fields of a record mean is in `usage_row`.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.core.usage_row import FIELD_NAMES
from groat_server.core.values import strict_json
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

RECORD_BYTES_MAX = 64 * 1024
"""Bytes of one record; a longer one is bad, and only its beginning is kept."""

_BLOCK_BYTES = RECORD_BYTES_MAX  # so that only a line of two blocks can be overlong
_BOM = b"\xef\xbb\xbf"
_KEPT_OF_OVERLONG = 1000
_JSON_SUFFIXES = {".jsonl", ".ndjson"}
_UNCLOSED = "a quoted text has no end"


@dataclass(slots=True)
class Record:
    """One record, and where it stands: from the physical `line` (1 is the first) to before `next_line`.

    `fields` are the values by name, text in CSV (empty ones left out) and JSON values in JSON Lines; or there is a
    `fault`, which says why there are none. `raw` has no line end.
    """

    line: int
    next_line: int
    raw: bytes
    fields: dict[str, object] | None
    fault: str | None = None


class Lines:
    """The physical lines of a binary stream, in order, a line end included; of an overlong line only the beginning.

    `until` bytes are read at most (None: all of them). `digest` is of all bytes that were read, dropped ones included.
    """

    def __init__(self, stream: BinaryIO, until: int | None = None) -> None:
        self.digest = hashlib.sha256()
        self.offset = 0
        self._stream = stream
        self._until = until

    def __iter__(self) -> Iterator[bytes]:
        begun = b""  # a line whose end is in a block to come, or its beginning where it is overlong
        block = self._block().removeprefix(_BOM)
        while block:
            lines = io.BytesIO(block).readlines()
            lines[0] = (begun + lines[0])[: RECORD_BYTES_MAX + 1]
            begun = b"" if block.endswith(b"\n") else lines.pop()
            yield from lines
            block = self._block()
        if begun:
            yield begun

    def _block(self) -> bytes:
        block = self._stream.read(_BLOCK_BYTES if self._until is None else min(_BLOCK_BYTES, self._until - self.offset))
        self.offset += len(block)
        self.digest.update(block)
        return block


def is_csv(suffix: str, head: bytes) -> bool:
    """Tell the format of a file by its suffix or else by its first bytes."""
    suffix = suffix.lower()
    if suffix == ".csv" or suffix in _JSON_SUFFIXES:
        return suffix == ".csv"
    return not head.removeprefix(_BOM).lstrip().startswith((b"{", b"["))


def records(lines: Iterable[bytes], *, as_csv: bool, first_line: int = 0) -> Iterator[tuple[int, Record]]:
    """Return the records of a file from `first_line` on, each with its number among all (1 is the first).

    Blank lines are none. Raises Unprocessable (bad_file) where the file as a whole cannot be imported: a CSV without a
    header, a JSON array, columns (or fields of the first JSON object) that we do not know, or required ones that are
    missing.
    """
    lines = iter(lines)
    if as_csv:
        columns = _header(lines)
        return (
            (number, _csv_record(columns, *span))
            for number, span in enumerate(_csv_spans(lines, columns), 1)
            if span[0] >= first_line
        )
    return ((number, _json_record(*span)) for number, span in enumerate(_json_spans(lines), 1) if span[0] >= first_line)


def count_records(lines: Iterable[bytes], *, as_csv: bool) -> Iterator[int]:
    """Return the numbers that `records` gives, without reading what is in each record. Raises what that raises."""
    lines = iter(lines)
    spans: Iterator[object] = _csv_spans(lines, _header(lines)) if as_csv else _json_spans(lines)
    return (number for number, _ in enumerate(spans, 1))


def check_columns(columns: Sequence[str]) -> None:
    """Raise Unprocessable (bad_file) unless these are columns that can be imported."""
    if unknown := [column for column in columns if column not in FIELD_NAMES]:
        named = ", ".join(repr(column[:60]) for column in unknown[:10])
        raise _bad_file(f"There is no column {named} in a usage log; the columns are {', '.join(FIELD_NAMES)}.")
    if repeated := sorted({column for column in columns if columns.count(column) > 1}):
        raise _bad_file(f"The column {repeated[0]!r} stands twice in the header.")
    if "email" in columns and "user" in columns:
        raise _bad_file("The file names its users twice: it takes one of the columns email and user.")
    missing = [column for column in ("occurred_at", "action_type") if column not in columns]
    if "email" not in columns and "user" not in columns:
        missing.append("email (or user)")
    if missing:
        raise _bad_file(f"The file lacks the column {', '.join(missing)}.")


def _header(lines: Iterator[bytes]) -> list[str]:
    line = next(lines, b"")
    if not line:
        raise _bad_file("The file is empty; a CSV begins with a header.")
    try:
        columns = [column.strip() for column in _csv_values(line)]
    except (ValueError, csv.Error) as error:
        raise _bad_file(f"The header cannot be read: {error}.") from None
    check_columns(columns)
    return columns


def _csv_spans(lines: Iterator[bytes], columns: Sequence[str]) -> Iterator[tuple[int, list[bytes], str | None]]:
    """Yield the lines that make a record each, after the header, with the number of the first and what is amiss.

    A quote that has no end spoils one line: those that it took in vain are read again.
    """
    again: deque[bytes] = deque()
    number = 2
    while line := again.popleft() if again else next(lines, b""):
        taken = [line]
        fault = None
        if b'"' in line:
            _take_quoted(taken, lines, again)
            if len(taken) > 1 and _csv_record(columns, number, taken).fault is not None:
                again.extendleft(reversed(taken[1:]))
                taken, fault = [line], _UNCLOSED
        if line.strip():
            yield number, taken, fault
        number += len(taken)


def _take_quoted(taken: list[bytes], lines: Iterator[bytes], again: deque[bytes]) -> None:
    """Add the lines over which a record goes on: to where its quotes are even, it is too long, or the file ends."""
    quotes, size = taken[0].count(b'"'), len(taken[0])
    while quotes % 2 and size <= RECORD_BYTES_MAX and (line := again.popleft() if again else next(lines, b"")):
        taken.append(line)
        quotes += line.count(b'"')
        size += len(line)


def _csv_record(columns: Sequence[str], number: int, taken: Sequence[bytes], fault: str | None = None) -> Record:
    raw = taken[0] if len(taken) == 1 else b"".join(taken)
    following = number + len(taken)
    if fault is not None:
        return Record(number, following, _trimmed(raw), None, fault)
    try:
        values = _csv_values(raw)
        if len(values) != len(columns):
            raise ValueError(f"it has {len(values)} values where the header has {len(columns)} columns")  # noqa: TRY301 - one way out
    except (ValueError, csv.Error) as error:
        return Record(number, following, _trimmed(raw), None, str(error))
    fields: dict[str, object] = dict(zip(columns, values, strict=True))
    if "" in values:
        fields = {column: value for column, value in fields.items() if value}
    return Record(number, following, _trimmed(raw), fields)


def _csv_values(raw: bytes) -> list[str]:
    """Return the values of one record. Raises ValueError or csv.Error."""
    text = _decoded(raw)
    if '"' not in text:
        return text.split(",")
    if text.count('"') % 2:
        raise ValueError(_UNCLOSED)
    (values,) = csv.reader([text], strict=True)
    return values


def _json_spans(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    is_first = True
    for number, line in enumerate(lines, 1):
        raw = line.strip()
        if not raw:
            continue
        if is_first:
            if raw.startswith(b"["):
                raise _bad_file("The file is one JSON array; JSON Lines have one object a line.")
            if (fields := _json_record(number, line).fields) is not None:
                check_columns(list(fields))
                is_first = False
        yield number, line


def _json_record(number: int, line: bytes) -> Record:
    try:
        fields = strict_json(_decoded(line))
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")  # noqa: TRY004, TRY301 - one way out, as for other faults
    except ValueError as error:
        return Record(number, number + 1, _trimmed(line), None, str(error))
    return Record(number, number + 1, _trimmed(line), fields)


def _decoded(raw: bytes) -> str:
    if len(raw) > RECORD_BYTES_MAX:
        raise ValueError(f"it has more than {RECORD_BYTES_MAX} bytes")
    try:
        return raw.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8, at byte {error.start + 1}") from None


def _trimmed(raw: bytes) -> bytes:
    kept = raw if len(raw) <= RECORD_BYTES_MAX else raw[:_KEPT_OF_OVERLONG]
    return kept.removesuffix(b"\n").removesuffix(b"\r")


def _bad_file(detail: str) -> Unprocessable:
    return Unprocessable(detail, code="bad_file")
