"""Reading a usage log for an import: once to survey it, once in batches. Blocking, meant for a thread of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.core.usage_columns import UsageRows, read_rows
from groat_server.core.usage_file import Lines, Record, count_records, is_csv, records
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows in the order of the file: the good ones, each beside its record, and the bad ones.

    `rows_read` are those of the file up to here; the lines before `next_line` are in this batch or in an earlier one.
    """

    records: list[Record]
    rows: UsageRows
    rejects: list[Reject]
    rows_read: int
    next_line: int


def survey_file(path: Path, told: Callable[[int], None], *, with_times: bool) -> Survey:
    """Read a file once; `told` hears the rows so far now and then. Raises Unprocessable (bad_file)."""
    with path.open("rb") as stream:
        as_csv = is_csv(path.suffix, stream.read(1024))
        stream.seek(0)
        lines = Lines(stream)
        rows, latest = 0, None
        for rows, found in _latest(lines, as_csv=as_csv) if with_times else _counted(lines, as_csv=as_csv):
            latest = found
            if rows % _SURVEY_STEP == 0:
                told(rows)
    return Survey(as_csv, lines.digest.digest(), lines.offset, rows, latest)


def _counted(lines: Lines, *, as_csv: bool) -> Iterator[tuple[int, None]]:
    return ((rows, None) for rows in count_records(lines, as_csv=as_csv))


def _latest(lines: Lines, *, as_csv: bool) -> Iterator[tuple[int, datetime | None]]:
    """Yield the rows so far, and the latest time of the good ones among them."""
    latest = None
    for batch in _batches(records(lines, as_csv=as_csv), as_csv=as_csv):
        times = batch.rows.occurred_at
        latest = max(times if latest is None else (latest, *times), default=None)
        yield batch.rows_read, latest


def batches(path: Path, survey: Survey, first_line: int) -> Iterator[Batch]:
    """Read the batches from `first_line` on. Raises Conflict (file_changed) where the file is not the surveyed one."""
    with path.open("rb") as stream:
        lines = Lines(stream, survey.length)
        unread = records(lines, as_csv=survey.as_csv, first_line=first_line)
        yield from _batches(unread, as_csv=survey.as_csv)
        if lines.digest.digest() != survey.digest:
            raise Conflict("The file has changed while it was imported.", code="file_changed")


def _batches(numbered: Iterator[tuple[int, Record]], *, as_csv: bool) -> Iterator[Batch]:
    while taken := _take(numbered):
        yield _batch(taken, as_csv=as_csv)


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
    rejects = [Reject(each.line, f"invalid: {each.fault}", each.raw) for _, each in taken if each.fields is None]
    readable = [record for _, record in taken if record.fields is not None]
    rows, reasons = read_rows([record.fields for record in readable if record.fields is not None], as_text=as_csv)
    for place, reason in reasons.items():
        rejects.append(Reject(readable[place].line, f"invalid: {reason}", readable[place].raw))
    good = [record for place, record in enumerate(readable) if place not in reasons]
    rows_read, last = taken[-1]
    return Batch(good, rows, rejects, rows_read, last.next_line)
