"""Reports as files: CSV, XLSX, Parquet.

Rows come through a cursor and are written as they come, to a temporary file: memory does not grow with the report, and
whoever reads slowly keeps no connection. An error is an error then, never half a file. Few are made at a time, which
leaves connections for reports.
"""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

import xlsxwriter

from groat_server.core.cells import csv_column, plain_text
from groat_server.errors import Unprocessable
from groat_server.operations.reports import FILE_ROWS_MAX, SHEET_ROWS_MAX, bind, find_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from groat_server.core.cells import CellType
    from groat_server.operations.ledger import Ledger

FileFormat = Literal["csv", "xlsx", "parquet"]

BOM = b"\xef\xbb\xbf"
_BATCH = 500  # so that a charge waits a few milliseconds for it at most
_IN_MEMORY_BYTES = 2**20
_DIGITS_OF_A_SPREADSHEET = 15
_PARQUET_PRECISION, _PARQUET_SCALE = 38, 12
_PARQUET_GROUP = 50_000  # rows of a row group: each takes room in the file's index, which stays in memory
_WIDTHS: Mapping[CellType, int] = {"text": 28, "list": 28, "instant": 19, "date": 11}


class _Writer(Protocol):
    """Writes rows to a file, batch by batch."""

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        """Write some rows, given by their columns."""

    def close(self) -> None:
        """Complete the file, which stays open."""


async def export_report(
    ledger: Ledger,
    name: str,
    file_format: FileFormat,
    /,
    *,
    bom: bool = False,
    rows_max: int = FILE_ROWS_MAX,
    wrote: Callable[[int], None] | None = None,
    **given: Any,
) -> BinaryIO:
    """Run a report and return it as a file, open at its beginning; closing it removes it.

    With `bom`, CSV begins with the mark by which spreadsheets know UTF-8. `wrote` is told the rows written so far.
    Raises what `bind` raises, and Unprocessable (parquet_not_installed).
    """
    most = min(rows_max, SHEET_ROWS_MAX) if file_format == "xlsx" else rows_max
    query = await bind(ledger, name, rows_max=most, **given)
    columns = find_report(name).columns
    with ExitStack() as undone:
        file = undone.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))
        if bom and file_format == "csv":
            file.write(BOM)
        writer = _WRITERS[file_format](cast("BinaryIO", file), columns)
        count = 0
        try:
            async with ledger.file_turn, ledger.database.snapshot() as connection:
                async for rows in query.statement.batches(connection, _BATCH, **query.values):
                    await asyncio.to_thread(_write, writer, rows, tuple(columns))
                    count += len(rows)
                    if wrote is not None:
                        wrote(count)
        finally:
            await asyncio.to_thread(writer.close)
        undone.pop_all()
    file.seek(0)
    return cast("BinaryIO", file)


def _write(writer: _Writer, rows: Sequence[object], columns: Sequence[str]) -> None:
    writer.write([list(map(attrgetter(column), rows)) for column in columns])


class _Csv:
    """RFC 4180, with a header."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, CellType]) -> None:
        self._text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        self._rows = csv.writer(self._text)
        self._rows.writerow(columns)
        self._kinds = tuple(columns.values())

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        self._rows.writerows(zip(*map(csv_column, self._kinds, columns), strict=True))

    def close(self) -> None:
        self._text.detach()


class _Xlsx:
    """One sheet with typed cells under a header that stays. No text becomes a formula, a link or a number."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, CellType]) -> None:
        self._book = xlsxwriter.Workbook(file, {"constant_memory": True})
        self._sheet = self._book.add_worksheet()
        self._formats = {
            "instant": self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            "date": self._book.add_format({"num_format": "yyyy-mm-dd"}),
        }
        header = self._book.add_format({"bold": True, "bottom": 1})
        for column, (name, kind) in enumerate(columns.items()):
            self._sheet.set_column(column, column, max(_WIDTHS.get(kind, 0), len(name) + 2))
            self._sheet.write_string(0, column, name, header)
        self._sheet.freeze_panes(1, 0)
        self._next = 1

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        for number, row in enumerate(zip(*columns, strict=True), self._next):
            for column, cell in enumerate(row):
                self._write_cell(number, column, cell)
        self._next += len(columns[0])

    def _write_cell(self, row: int, column: int, value: object) -> None:
        match value:
            case None:
                pass
            case bool():
                self._sheet.write_boolean(row, column, value)
            case int() if len(str(abs(value))) > _DIGITS_OF_A_SPREADSHEET:
                self._sheet.write_string(row, column, str(value))  # an id, which must not lose a digit
            case int() | Decimal():
                self._sheet.write_number(row, column, value)
            case datetime():
                time = value.astimezone(UTC).replace(tzinfo=None)
                self._sheet.write_datetime(row, column, time, self._formats["instant"])
            case date():
                self._sheet.write_datetime(row, column, value, self._formats["date"])
            case _:
                self._sheet.write_string(row, column, plain_text(value))

    def close(self) -> None:
        self._book.close()


class _Parquet:
    """Amounts as decimal(38, 12), times as microseconds in UTC."""

    def __init__(self, file: BinaryIO, columns: Mapping[str, CellType]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an extra, which not every installation has
            from pyarrow import parquet  # noqa: PLC0415 - the same
        except ImportError as error:
            raise Unprocessable(
                "This installation cannot write Parquet: it lacks the extra `groat-server[parquet]` (pyarrow).",
                code="parquet_not_installed",
            ) from error
        types: Mapping[CellType, Any] = {
            "text": pa.string(),
            "integer": pa.int64(),
            "number": pa.decimal128(_PARQUET_PRECISION, _PARQUET_SCALE),
            "instant": pa.timestamp("us", tz="UTC"),
            "date": pa.date32(),
            "flag": pa.bool_(),
            "list": pa.list_(pa.string()),
        }
        self._pa = pa
        self._schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._batches: list[Any] = []
        self._rows = 0

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        self._batches.append(self._pa.record_batch(list(columns), schema=self._schema))
        self._rows += len(columns[0])
        if self._rows >= _PARQUET_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        self._writer.write_table(self._pa.Table.from_batches(self._batches, schema=self._schema))
        self._batches.clear()
        self._rows = 0

    def close(self) -> None:
        try:
            if self._batches:
                self._write_group()
        finally:
            self._writer.close()


_WRITERS: Mapping[FileFormat, Callable[[BinaryIO, Mapping[str, CellType]], _Writer]] = {
    "csv": _Csv,
    "xlsx": _Xlsx,
    "parquet": _Parquet,
}
