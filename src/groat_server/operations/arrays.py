"""Columns as the array texts that PostgreSQL reads. A column without any value is None: `unnest` pads it with nulls."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_as_text = Decimal.__str__  # also of an Amount, whose own is slower


def numbers(column: Sequence[int | None]) -> str | None:
    """Write whole numbers."""
    if column.count(None) == len(column):
        return None
    if None not in column:
        return f"{{{','.join(map(str, column))}}}"
    return _with_nulls([None if each is None else str(each) for each in column])


def counts(column: Sequence[int]) -> str | None:
    """Write whole numbers of which 0 may be left out."""
    return numbers(column) if any(column) else None


def amounts(column: Sequence[Decimal | None]) -> str | None:
    """Write decimals."""
    try:
        return f"{{{','.join(map(_as_text, cast('Sequence[Decimal]', column)))}}}"
    except TypeError:  # some are None; a Decimal takes long to find out that it does not equal that
        if all(each is None for each in column):
            return None
        return _with_nulls([None if each is None else _as_text(each) for each in column])


def factors(column: Sequence[Decimal | None]) -> str | None:
    """Write decimals that are one and the same, as a rule."""
    first = column[0] if column else None
    if first is None or any(each is not first for each in column):
        return amounts(column)
    return f"{{{','.join([_as_text(first)] * len(column))}}}"


def flags(column: Sequence[bool]) -> str:
    """Write flags."""
    return f"{{{','.join(['t' if each else 'f' for each in column])}}}"


def times(column: Sequence[datetime | None]) -> str | None:
    """Write instants."""
    if column.count(None) == len(column):
        return None
    return _with_nulls([None if each is None else f'"{each.isoformat()}"' for each in column])


def texts(column: Sequence[str | None]) -> str | None:
    """Write texts of any content."""
    if column.count(None) == len(column):
        return None
    if None not in column:
        joined = '","'.join(cast("Sequence[str]", column))
        if "\\" not in joined and joined.count('"') == 2 * (len(column) - 1):
            return f'{{"{joined}"}}'
    return _with_nulls([None if each is None else f'"{_escaped(each)}"' for each in column])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _with_nulls(column: Sequence[str | None]) -> str:
    return f"{{{','.join(['NULL' if each is None else each for each in column])}}}"
