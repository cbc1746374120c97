"""How commands print: a table for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT_WIDTH_LEAST = 8
_PIPE_WIDTH = 400
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


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


def print_json(value: object) -> None:
    """Print a value as JSON, amounts exact."""
    from groat_server.http.json import JSON

    print(bytes(JSON(value).body).decode())


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
    writer.writerows([[_cell(record[name]) for name in names] for record in records])


def _cell(value: object) -> object:
    """Return a CSV cell; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return _text(value)


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)


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
            return _text(value)
