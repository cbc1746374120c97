"""How a value is written into one cell: of a table on paper, of CSV, of a spreadsheet."""

from __future__ import annotations

from dataclasses import Field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

CellType = Literal["text", "integer", "number", "instant", "date", "flag", "list"]

_TYPES: dict[str, CellType] = {
    "str": "text",
    "int": "integer",
    "Decimal": "number",
    "datetime": "instant",
    "date": "date",
    "bool": "flag",
    "list[str]": "list",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def cell_types(row: type[Any]) -> dict[str, CellType]:
    """Return the columns of a row type, in order, each with the type of its cells."""
    return {field.name: _cell_type(field) for field in fields(row)}


def _cell_type(field: Field[Any]) -> CellType:
    # Annotations are texts here, so that rows need not import at run time what only types them.
    return _TYPES[cast("str", field.type).removesuffix(" | None")]


def plain_text(value: object) -> str:
    """Return a value's text: nothing for None, times in UTC with `Z`."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
        case list():
            return " ".join(map(str, value))
        case _:
            return str(value)


def csv_cell(value: object) -> str:
    """Return a CSV cell; text that a spreadsheet would run as a formula gets a leading apostrophe, numbers do not."""
    text = plain_text(value)
    return f"'{text}" if isinstance(value, str | list) and text.startswith(_FORMULA) else text


def csv_column(kind: CellType, column: Sequence[Any]) -> Sequence[Any]:
    """Return a column's cells such that a csv.writer writes each as `csv_cell` would."""
    match kind:
        case "text":
            return [f"'{cell}" if cell is not None and cell.startswith(_FORMULA) else cell for cell in column]
        case "integer" | "number" | "date":
            return column
        case _:
            return list(map(csv_cell, column))
