"""Reading a usage log for an import: once to survey it, once in batches. Blocking, meant for a thread of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.core.usage_file import Lines, Record, is_csv, records
from groat_server.core.usage_row import BadRow, UsageRow, read_fields
from groat_server.errors import Conflict
from groat_server.operations.rejects import Reject
from groat_server.operations.usage import BATCH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

BATCH_BYTES_MAX = 2 * 1024 * 1024
_SURVEY_STEP = 20_000


@dataclass(frozen=True, slots=True)
class Survey:
    """What the first reading found: `length` in bytes, and of the good rows the latest time, if it was asked for."""

    as_csv: bool
    digest: bytes
    length: int
    rows: int
    latest: datetime | None


def survey_file(path: Path, told: Callable[[int], None], *, with_times: bool) -> Survey:
    """Read a file once; `told` hears the rows so far now and then. Raises Unprocessable (bad_file)."""
    with path.open("rb") as stream:
        as_csv = is_csv(path.suffix, stream.read(1024))
        stream.seek(0)
        lines = Lines(stream)
        rows, latest = 0, None
        for rows, record in enumerate(records(lines, as_csv=as_csv), 1):
            if with_times and isinstance(row := _read(record, as_csv=as_csv), UsageRow):
                latest = row.occurred_at if latest is None else max(latest, row.occurred_at)
            if rows % _SURVEY_STEP == 0:
                told(rows)
    return Survey(as_csv, lines.digest.digest(), lines.offset, rows, latest)


def _read(record: Record, *, as_csv: bool) -> UsageRow | Reject:
    if record.fields is None:
        return Reject(record.line, f"invalid: {record.fault}", record.raw)
    try:
        return read_fields(record.fields, as_text=as_csv)
    except BadRow as error:
        return Reject(record.line, f"invalid: {error}", record.raw)


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows in the order of the file: those to charge, each with its record, and those that cannot be."""

    charges: list[tuple[Record, UsageRow]]
    rejects: list[Reject]
    rows_read: int
    next_line: int


def batches(path: Path, survey: Survey, first_line: int) -> Iterator[Batch]:
    """Read the batches from `first_line` on. Raises Conflict (file_changed) where the file is not the surveyed one."""
    with path.open("rb") as stream:
        lines = Lines(stream, survey.length)
        numbered = enumerate(records(lines, as_csv=survey.as_csv), 1)
        fresh = ((number, record) for number, record in numbered if record.line >= first_line)
        while taken := _take(fresh):
            yield _batch(taken, as_csv=survey.as_csv)
        if lines.digest.digest() != survey.digest:
            raise Conflict("The file has changed while it was imported.", code="file_changed")


def _take(numbered: Iterator[tuple[int, Record]]) -> list[tuple[int, Record]]:
    taken = []
    size = 0
    for number, record in numbered:
        taken.append((number, record))
        size += len(record.raw)
        if len(taken) >= BATCH_MAX or size >= BATCH_BYTES_MAX:
            break
    return taken


def _batch(taken: Sequence[tuple[int, Record]], *, as_csv: bool) -> Batch:
    charges: list[tuple[Record, UsageRow]] = []
    rejects: list[Reject] = []
    for _, record in taken:
        row = _read(record, as_csv=as_csv)
        if isinstance(row, Reject):
            rejects.append(row)
        else:
            charges.append((record, row))
    rows_read, last = taken[-1]
    return Batch(charges, rejects, rows_read, last.next_line)
