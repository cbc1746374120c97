"""How commands print: a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from cyclopts import Parameter

from groat_server.core.cells import csv_cell, plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_TEXT_WIDTH_LEAST = 8
_PIPE_WIDTH = 400


@Parameter(name="*", group="Output")
@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The form of the output; a table unless said otherwise."""

    json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False
    csv: Annotated[bool, Parameter(name="--csv", negative="", help="Print CSV.")] = False


TABLE = Output()


def print_rows(rows: Sequence[Any], output: Output, *, columns: Sequence[str] | None = None, title: str = "") -> None:
    """Print rows (dataclasses or dictionaries) in the form that was asked for; `columns` are those of the table."""
    records = [_record(row) for row in rows]
    names = list(columns or (records[0] if records else ()))
    if output.json:
        print_json(records)
    elif output.csv:
        _print_csv(records, list(records[0]) if records else names)
    else:
        _print_table(records, names, title)


def print_row(row: Any, output: Output, *, columns: Sequence[str] | None = None) -> None:
    """Print one row: as one JSON object, or as a table or CSV of one line."""
    if output.json:
        print_json(_record(row))
    else:
        print_rows([row], output, columns=columns)


def tell(answer: Any, told: str, output: Output, *, key: str | None = None) -> None:
    """Print an answer as JSON or CSV or, for people, as `told`, each with the key under which it is answered again."""
    if output.json or output.csv:
        print_row(_record(answer) | ({} if key is None else {"idempotency_key": key}), output)
        return
    from rich.markup import escape

    say(told if key is None else f"{told}   key {escape(key)}")


def print_json(value: object) -> None:
    """Print a value as JSON, amounts exact."""
    print(json_text(value))


def json_text(value: object) -> str:
    """Return a value as JSON, amounts exact."""
    from groat_server.http.json import JSON

    return bytes(JSON(value).body).decode()


def form_of(given: str | None, file: Path | None, forms: Sequence[str], *, binary: Sequence[str] = ()) -> str:
    """Return the form to print or write in: as given, else as the file's name ends, else a table.

    Raises Unprocessable where nothing tells it, and where it cannot be written where it should.
    """
    from groat_server.errors import Unprocessable

    form = given or (file.suffix.removeprefix(".") if file else "table")
    if form not in forms:
        raise Unprocessable(f"{file} does not tell its form: say one with --format.")
    if form in binary and file is None:
        raise Unprocessable(f"{form} is for a file: name one with -o FILE.")
    if form == "table" and file is not None:
        raise Unprocessable("A table is for the terminal: say another form with --format.")
    return form


@contextmanager
def written_to(file: Path | None) -> Iterator[BinaryIO]:
    """Lend a file, or standard output, for bytes. Raises Unprocessable where it cannot be written."""
    from groat_server.errors import Unprocessable

    if file is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with file.open("wb") as opened:
            yield opened
    except OSError as error:
        raise Unprocessable(f"{file} cannot be written: {error.strerror}.") from error


def say(text: str) -> None:
    """Print a line, with colour where there is a terminal and NO_COLOR is not set."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True).print(text)


def _record(row: object) -> dict[str, Any]:
    if is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in fields(row)}
    if isinstance(row, dict):
        return row
    raise TypeError(f"{type(row).__name__} is no row")


def _print_csv(records: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[csv_cell(record[name]) for name in names] for record in records])


def _print_table(records: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        cells = [_shown(record[name]) for record in records]
        is_number = any(isinstance(record[name], int | Decimal) for record in records)
        # Figures and times are shown whole; only text gives way in a narrow terminal.
        is_text = not is_number and any(isinstance(record[name], str) for record in records)
        table.add_column(
            name.replace("_", " "),
            justify="right" if is_number else "left",
            min_width=_TEXT_WIDTH_LEAST if is_text else max(map(len, cells), default=0),
            no_wrap=is_text,
            overflow="ellipsis",
        )
    for record in records:
        table.add_row(*(escape(_shown(record[name])) for name in names))
    # Into a pipe or a file, nothing gives way.
    Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _shown(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else ""
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case _:
            return plain_text(value)
