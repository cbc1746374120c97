"""Published SQL with the values of its parameters, as a script that psql runs as it stands."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"


def psql_script(queries: Sequence[tuple[str, Mapping[str, object]]]) -> str:
    """Return a script of statements (with `:name` parameters) and their values; several see one snapshot.

    Values are numbers, times, None, and texts without line breaks.
    """
    parts = [_part(source, values) for source, values in queries]
    if len(parts) > 1:
        parts = [f"{_SNAPSHOT}\n", *parts, "COMMIT;\n"]
    return "-- Groat's published SQL; psql runs it as it stands.\n" + "\n".join(parts)


def _part(source: str, values: Mapping[str, object]) -> str:
    settings = "".join(f"\\set {name} {_argument(_literal(value))}\n" for name, value in values.items())
    return f"{settings}{source.rstrip()}\n;\n"


def _literal(value: object) -> str:
    """Return a value as SQL says it."""
    match value:
        case None:
            return "NULL"
        case datetime():
            return f"'{value.astimezone(UTC).isoformat()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return str(value)


def _argument(literal: str) -> str:
    """Return SQL as an argument of psql's "set", which reads quotes and backslashes in a way of its own."""
    if literal.isalnum():
        return literal
    return "'" + literal.replace("\\", "\\\\").replace("'", "''") + "'"
