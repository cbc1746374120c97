"""The SQL seam: statements live in `.sql` files, one each, and come back as typed rows.

A file says `:name` for a parameter (and `CAST(:name AS type)`, never `:name::type`). It is read once, turned into
psycopg's style and run on a connection in autocommit, so that a statement is a transaction.
"""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Generic, LiteralString, TypeVar, cast

from psycopg import sql
from psycopg.rows import class_row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from psycopg import AsyncConnection

Row = TypeVar("Row")

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")
_COMMENT = re.compile(r"--[^\n]*")


@cache
def source(name: str) -> LiteralString:
    """Return the text of the statement `name` ("reports/overview"), as published: with `:name` parameters."""
    return files(__package__).joinpath(f"{name}.sql").read_text("utf-8")


@cache
def all_statements() -> tuple[str, ...]:
    """Return the texts of all statements, without their comments; definitions are none."""
    folders = (each for each in files(__package__).iterdir() if each.is_dir() and each.name != "definitions")
    texts = (file.read_text("utf-8") for folder in folders for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple(_COMMENT.sub("", text) for text in texts)


class Statement(Generic[Row]):
    """One statement and the frozen dataclass that each of its rows becomes, field by column name."""

    def __init__(self, name: str, row: type[Row]) -> None:
        self.name = name
        self.row = row

    @property
    def source(self) -> LiteralString:
        """The statement as published, with `:name` parameters."""
        return source(self.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that the row type expects."""
        return tuple(field.name for field in fields(cast("Any", self.row)))

    async def all(self, connection: AsyncConnection[Any], **parameters: object) -> list[Row]:
        """Run the statement and return its rows."""
        async with connection.cursor(row_factory=class_row(self.row)) as cursor:
            await cursor.execute(_composed(self.name), parameters)
            return await cursor.fetchall()

    async def batches(
        self, connection: AsyncConnection[Any], size: int, **parameters: object
    ) -> AsyncIterator[list[Row]]:
        """Run the statement within the connection's transaction and yield its rows, so many at a time."""
        async with connection.cursor(name="batches", row_factory=class_row(self.row)) as cursor:
            await cursor.execute(_composed(self.name), parameters)
            while rows := await cursor.fetchmany(size):
                yield rows

    async def maybe(self, connection: AsyncConnection[Any], **parameters: object) -> Row | None:
        """Run a statement that returns one row or none."""
        rows = await self.all(connection, **parameters)
        if len(rows) > 1:
            raise AssertionError(f"{self.name} returned {len(rows)} rows, expected at most one")
        return rows[0] if rows else None

    async def one(self, connection: AsyncConnection[Any], **parameters: object) -> Row:
        """Run a statement that always returns exactly one row."""
        row = await self.maybe(connection, **parameters)
        if row is None:
            raise AssertionError(f"{self.name} returned no row")
        return row


@cache
def _composed(name: str) -> sql.SQL:
    text = _COMMENT.sub("", source(name)).replace("%", "%%")
    return sql.SQL(_PARAMETER.sub(r"%(\1)s", text))


@cache
def numbered(name: str) -> tuple[bytes, tuple[str, ...]]:
    """Return the statement `name` with `$1`, `$2`, … in place of its parameters, and their names in that order."""
    names: dict[str, int] = {}

    def number(parameter: re.Match[str]) -> str:
        return f"${names.setdefault(parameter[1], len(names) + 1)}"

    return _PARAMETER.sub(number, _COMMENT.sub("", source(name))).encode(), tuple(names)
