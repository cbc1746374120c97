"""Usage logs as files: physical lines in, records out, one at a time, so that a file of any size takes little memory.

Two formats: CSV (RFC 4180, with a header) and JSON Lines. What the fields of a record mean is in `usage_row`.
"""

from __future__ import annotations

import csv
import hashlib
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

_BOM = b"\xef\xbb\xbf"
_KEPT_OF_OVERLONG = 1000
_JSON_SUFFIXES = {".jsonl", ".ndjson"}
_UNCLOSED = "a quoted text has no end"


@dataclass(frozen=True, slots=True)
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
        line = self._piece().removeprefix(_BOM)
        while line:
            yield line
            while len(line) > RECORD_BYTES_MAX and not line.endswith(b"\n"):
                line = self._piece()  # the rest of an overlong line
            line = self._piece()

    def _piece(self) -> bytes:
        most = RECORD_BYTES_MAX + 1
        piece = self._stream.readline(most if self._until is None else min(most, self._until - self.offset))
        self.offset += len(piece)
        self.digest.update(piece)
        return piece


def is_csv(suffix: str, head: bytes) -> bool:
    """Tell the format of a file by its suffix or else by its first bytes."""
    suffix = suffix.lower()
    if suffix == ".csv" or suffix in _JSON_SUFFIXES:
        return suffix == ".csv"
    return not head.removeprefix(_BOM).lstrip().startswith((b"{", b"["))


def records(lines: Iterable[bytes], *, as_csv: bool) -> Iterator[Record]:
    """Return the records of a file; blank lines are none.

    Raises Unprocessable (bad_file) where the file as a whole cannot be imported: a CSV without a header, a JSON array,
    columns (or fields of the first JSON object) that we do not know, or required ones that are missing.
    """
    return _csv_records(iter(lines)) if as_csv else _json_records(iter(lines))


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


def _csv_records(lines: Iterator[bytes]) -> Iterator[Record]:
    columns: list[str] | None = None
    # Lines that a record with an open quote took in vain, to be read again: one bad quote spoils one line.
    again: deque[bytes] = deque()
    number = 1
    while line := _next(lines, again):
        if columns is None:
            columns = _header(line)
            number += 1
            continue
        taken = [line]
        if b'"' in line:
            _take_quoted(taken, lines, again)
        if line.strip():
            record = _csv_record(number, taken, columns)
            if record.fault is not None and len(taken) > 1:
                again.extendleft(reversed(taken[1:]))
                taken = [line]
                record = Record(number, number + 1, _trimmed(line), None, _UNCLOSED)
            yield record
        number += len(taken)
    if columns is None:
        raise _bad_file("The file is empty; a CSV begins with a header.")


def _next(lines: Iterator[bytes], again: deque[bytes]) -> bytes:
    return again.popleft() if again else next(lines, b"")


def _take_quoted(taken: list[bytes], lines: Iterator[bytes], again: deque[bytes]) -> None:
    """Add the lines over which a record goes on: to where its quotes are even, it is too long, or the file ends."""
    quotes, size = taken[0].count(b'"'), len(taken[0])
    while quotes % 2 and size <= RECORD_BYTES_MAX and (line := _next(lines, again)):
        taken.append(line)
        quotes += line.count(b'"')
        size += len(line)


def _csv_record(number: int, taken: Sequence[bytes], columns: Sequence[str]) -> Record:
    raw = b"".join(taken)
    following = number + len(taken)
    try:
        values = _csv_values(raw)
        if len(values) != len(columns):
            raise ValueError(f"it has {len(values)} values where the header has {len(columns)} columns")  # noqa: TRY301 - one way out
    except (ValueError, csv.Error) as error:
        return Record(number, following, _trimmed(raw), None, str(error))
    fields: dict[str, object] = {column: value for column, value in zip(columns, values, strict=True) if value}
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


def _header(line: bytes) -> list[str]:
    try:
        columns = [column.strip() for column in _csv_values(line)]
    except (ValueError, csv.Error) as error:
        raise _bad_file(f"The header cannot be read: {error}.") from None
    check_columns(columns)
    return columns


def _json_records(lines: Iterator[bytes]) -> Iterator[Record]:
    is_first = True
    for number, line in enumerate(lines, 1):
        raw = line.strip()
        if not raw:
            continue
        if is_first and raw.startswith(b"["):
            raise _bad_file("The file is one JSON array; JSON Lines have one object a line.")
        try:
            fields = strict_json(_decoded(line))
            if not isinstance(fields, dict):
                raise ValueError("it is not a JSON object")  # noqa: TRY004, TRY301 - one way out, as for other faults
        except ValueError as error:
            yield Record(number, number + 1, _trimmed(line), None, str(error))
            continue
        if is_first:
            check_columns(list(fields))
            is_first = False
        yield Record(number, number + 1, _trimmed(line), fields)


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
