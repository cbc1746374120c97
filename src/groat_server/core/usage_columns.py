"""Many rows of a usage log at once, column by column: what `usage_row` reads in each, at a fraction of the cost.

A column is first judged as a whole, which takes a few calls for a thousand values. One that is not good as a whole is
read value by value under the strict rules, and a row that has a bad value is left to `read_fields`, which says why. So
nothing is taken and nothing is refused that would not be if it came alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import compress, repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from groat_server.core.credits import MAX_TOKENS
from groat_server.core.usage import Usage
from groat_server.core.usage_row import (
    JSON_FIELDS,
    NEVER_NULL,
    REQUIRED,
    TEXT_FIELDS,
    TOKENS,
    BadRow,
    read_fields,
)
from groat_server.core.values import DIGITS_MAX, TIME_PATTERN, YEARS, action_type, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

Row: TypeAlias = "Mapping[str, object]"
Column: TypeAlias = "Sequence[Any]"

_TIMES = re.compile(rf"(?:{TIME_PATTERN}\n)+", re.ASCII)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNSAFE_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UsageRows:
    """Well-formed rows in order: who used (an id, or a normal e-mail address), when, and what else the log says.

    `values` are, by name, the columns of the fields that any of the rows may have; None where one has none.
    """

    users: Column
    occurred_at: Sequence[datetime]
    values: Mapping[str, Column]

    def usages(
        self, user_ids: Sequence[int | None], keys: Sequence[str], *, shift: timedelta, backfill_before: datetime
    ) -> list[Usage]:
        """Return the usages of these users, at the rows' times plus `shift`; `keys` are for rows that have none."""
        times = [at + shift for at in self.occurred_at] if shift else self.occurred_at
        own_keys = self._column("idempotency_key")
        return [
            Usage(
                user_id=user_id,
                idempotency_key=own_key or key,
                action_type=action,
                model=model,
                provider=provider,
                input_tokens=input_,
                output_tokens=output,
                cache_read_tokens=cache_read,
                cache_write_tokens=cache_write,
                reasoning_tokens=reasoning,
                quantity=quantity,
                api_cost=api_cost,
                occurred_at=occurred_at,
                description=description,
                session_id=session_id,
                metadata=metadata,
                backfill=occurred_at < backfill_before,
            )
            for (
                user_id, key, own_key, occurred_at, action, model, provider, input_, output, cache_read, cache_write,
                reasoning, quantity, api_cost, description, session_id, metadata,
            ) in zip(user_ids, keys, own_keys, times, *map(self._column, _OTHERS), strict=True)
        ]  # fmt: skip

    def _column(self, name: str) -> Column:
        return self.values.get(name) or [0 if name in TOKENS else None] * len(self.users)


def read_rows(rows: Sequence[Row], *, as_text: bool) -> tuple[UsageRows, dict[int, str]]:
    """Return the good rows, and of each bad one its place among `rows` (0 is the first) with the reason.

    `as_text` where every value is text (CSV) and not JSON's own.
    """
    form = _TEXT if as_text else _JSON
    names: set[str] = set().union(*rows)
    doubted = {place for place, row in enumerate(rows) if row.keys() - _KNOWN} if names - _KNOWN else set()
    columns = {name: _column(name, rows, form, doubted) for name in _KNOWN if name in names}
    doubted |= _incomplete(columns, len(rows)) | _inconsistent(columns)
    reasons = {place: _reason(rows[place], as_text=as_text) for place in sorted(doubted)}
    if reasons:
        is_good = [place not in reasons for place in range(len(rows))]
        columns = {name: list(compress(column, is_good)) for name, column in columns.items()}
    nothing: Column = [None] * (len(rows) - len(reasons))
    emails, ids = columns.pop("email", nothing), columns.pop("user", nothing)
    users = [email or id_ for email, id_ in zip(emails, ids, strict=True)]
    return UsageRows(users, columns.pop("occurred_at", nothing), columns), reasons


def _column(name: str, rows: Sequence[Row], form: _Form, doubted: set[int]) -> Column:
    """Return the values of one field; of those that are not good, which are None, the places are added to `doubted`."""
    absent = form.nought if name in TOKENS else None
    column = [row.get(name, absent) for row in rows]
    given = column
    if None in column:
        given = [value for value in column if value is not None]
        if name in NEVER_NULL:
            doubted.update(place for place, row in enumerate(rows) if name in row and row[name] is None)
    try:
        taken = form.whole[name](given) if given else []
    except ValueError:
        return _one_by_one(column, form.strict[name], doubted)
    if given is column:
        return taken
    values = iter(taken)
    return [None if value is None else next(values) for value in column]


def _one_by_one(column: Column, read: Callable[[object], object], doubted: set[int]) -> Column:
    values: list[object] = []
    for place, value in enumerate(column):
        try:
            values.append(None if value is None else read(value))
        except ValueError:
            doubted.add(place)
            values.append(None)
    return values


def _incomplete(columns: Mapping[str, Column], count: int) -> set[int]:
    """Return the places of the rows that lack what every row needs: a time, an action, and one name of the user."""
    nothing: Column = [None] * count
    lacking = {place for name in REQUIRED for place, value in enumerate(columns.get(name, nothing)) if value is None}
    users = zip(columns.get("email", nothing), columns.get("user", nothing), strict=True)
    return lacking | {place for place, (email, id_) in enumerate(users) if (email is None) == (id_ is None)}


def _inconsistent(columns: Mapping[str, Column]) -> set[int]:
    """Return the places of the rows whose parts exceed their whole."""
    if not columns.keys() & {"cache_read_tokens", "cache_write_tokens", "reasoning_tokens"}:
        return set()
    counts = zip(*(columns.get(name) or repeat(0) for name in TOKENS))  # noqa: B905 - a field that no row has goes on
    return {
        place
        for place, (whole, output, *cached, reasoning) in enumerate(counts)
        if sum(part or 0 for part in cached) > (whole or 0) or (reasoning or 0) > (output or 0)
    }


def _reason(row: Row, *, as_text: bool) -> str:
    try:
        read_fields(row, as_text=as_text)
    except BadRow as error:
        return str(error)
    raise AssertionError("a row was doubted that is good")


# The readers of whole columns, none of which is empty. They return the values, or raise ValueError where one of them
# may be bad.


def _require(kind: type[object], column: Column) -> None:
    if set(map(type, column)) != {kind}:
        raise ValueError(f"not all are {kind}")


def _times(column: Column) -> Column:
    _require(str, column)
    together = "\n".join(column) + "\n"
    if not _TIMES.fullmatch(together):
        raise ValueError("not all are times")
    try:
        times = [datetime.fromisoformat(value).astimezone(UTC) for value in column]
    except OverflowError as error:
        raise ValueError("not all are times") from error
    if min(times).year < YEARS.start or max(times).year >= YEARS.stop:
        raise ValueError("not all are in our years")
    return times


def _texts(column: Column, *, longest: int, shortest: int = 1, multiline: bool = False) -> Column:
    _require(str, column)
    lengths = set(map(len, column))
    together = "".join(column)
    unsafe = _UNSAFE_IN_LINES if multiline else _UNSAFE
    if min(lengths) < shortest or max(lengths) > longest:
        raise ValueError("not all are so long")
    if not (together.isascii() and together.isprintable()) and unsafe.search(together):
        raise ValueError("not all are safe")
    return column


def _actions(column: Column) -> Column:
    _require(str, column)
    for each in set(column):
        action_type(each)
    return column


def _counts(column: Column) -> Column:
    _require(int, column)
    if min(column) < 0 or max(column) > MAX_TOKENS:
        raise ValueError("not all are in bounds")
    return column


def _counts_as_text(column: Column) -> Column:
    together = "".join(column)
    if not (together.isascii() and together.isdigit()) or max(map(len, column)) > DIGITS_MAX:
        raise ValueError("not all are digits")
    return _counts(list(map(int, column)))


def _each(column: Column, *, read: Callable[[object], object]) -> Column:
    return list(map(read, column))


@dataclass(frozen=True, slots=True)
class _Form:
    """How values are written: the strict reader of each field, that of its column, and what says 0."""

    strict: Mapping[str, Callable[[object], object]]
    whole: Mapping[str, Callable[[Column], Column]]
    nought: object


def _form(
    strict: Mapping[str, Callable[[object], object]], counts: Callable[[Column], Column], nought: object
) -> _Form:
    whole: dict[str, Callable[[Column], Column]] = {name: partial(_each, read=read) for name, read in strict.items()}
    for name, read in strict.items():
        if isinstance(read, partial) and read.func is text:
            whole[name] = partial(_texts, **read.keywords)
    whole |= {"occurred_at": _times, "action_type": _actions} | dict.fromkeys(TOKENS, counts)
    return _Form(strict, whole, nought)


_TEXT = _form(TEXT_FIELDS, _counts_as_text, "0")
_JSON = _form(JSON_FIELDS, _counts, 0)
_KNOWN = TEXT_FIELDS.keys()
_OTHERS = (
    "action_type", "model", "provider", *TOKENS, "quantity", "api_cost", "description", "session_id", "metadata",
)  # fmt: skip
