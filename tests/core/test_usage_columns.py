"""Rows that are read together: each is taken or refused as it is alone, to the value and to the word."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from groat_server.core import values
from groat_server.core.credits import trimmed
from groat_server.core.usage_columns import read_rows
from groat_server.core.usage_row import TOKENS, BadRow, UsageRow, read_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hypothesis.strategies import SearchStrategy

Row = dict[str, object]

TIMES = [
    "2026-01-31T12:00:00Z", "2026-01-31T12:00:00.5Z", "2026-01-31 12:00+01", "2026-01-31t12:00:00z",
    "2026-01-31T12:00:00.123456789+05:30", "2026-01-31T12:00:00+0530", "2026-02-30T12:00:00Z", "2026-01-31",
    "2026-01-31T12:00:00", "1999-12-31T23:59:59Z", "1999-12-31T23:59:59-01:00", "2100-12-31T23:59:59Z",
    "2101-01-01T00:00:00+01:00", "2101-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
    "20260131T120000Z", "2026-W05-6T12:00Z", "2026-01-31T12:00:00,5Z", "2026-01-31T24:00:00Z",
    "2026-01-31T12:00:00Z\n2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z\n", "٢026-01-31T12:00:00Z", "\n",
]  # fmt: skip
COUNTS = ["0", "7", "007", "1000000000", "1000000001", "0" * 20, "1_0", " 1", "+1", "-1", "1.0", "1e3", "٣", "²"]
AMOUNTS = [
    "0",
    "1.50",
    "0.000",
    "1e-05",
    "1E2",
    "1.0000000000000",
    "0.0000000000001",
    "1000000",
    "1000000000.1",
    "-1",
    ".5",
]
TEXTS = [
    "x",
    "é",
    "a\nb",
    "a\tb",
    "\x7f",
    "\x85",
    "\xa0",
    "\u2028",
    "k" * 255,
    "k" * 256,
    "é" * 200,
    "é" * 201,
    "\U0001f600",
]
EMAILS = ["a@example.com", " A@Example.com ", "nobody", "a@b@c", "ä@example.com", "A\u0308@example.com", "a\x00@b"]
ACTIONS = ["chat", "ai.chat:1", "Chat", "chat\n", "a" * 64, "a" * 65, "é"]
METADATA = ["{}", '{"a": [1, 0.50]}', "[]", "{", '{"a": 1, "a": 2}', '{"a": "\\ud800"}', "\ufeff{}"]


def texts(*known: str) -> SearchStrategy[str]:
    """Draw one of these mostly, or any text at all but none: an empty value in a CSV is no value."""
    return st.one_of(st.sampled_from(known), st.sampled_from(known), st.text(min_size=1, max_size=5))


CSV_FIELDS: Mapping[str, SearchStrategy[object]] = {
    "occurred_at": texts(*TIMES),
    "email": texts(*EMAILS),
    "user": texts(*EMAILS, *COUNTS, "9223372036854775807", "9223372036854775808"),
    "action_type": texts(*ACTIONS),
    **dict.fromkeys(TOKENS, texts(*COUNTS)),
    **dict.fromkeys(("quantity", "api_cost"), texts(*AMOUNTS)),
    **dict.fromkeys(("model", "provider", "description", "session_id", "idempotency_key"), texts(*TEXTS)),
    "metadata": texts(*METADATA),
}
LONE: list[object] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    10**9,
    10**9 + 1,
    Decimal("0.50"),
    "",
    "\ud800",
    [],
    ["x"],
    {},
    {"a": "b"},
]
GOOD: Row = {"occurred_at": "2026-01-31T12:00:00Z", "email": "a@example.com", "action_type": "chat"}


@st.composite
def rows_of(draw: st.DrawFn, fields: Mapping[str, SearchStrategy[object]]) -> list[Row]:
    """Draw rows that are good but for a few fields, which may be anything; so whole columns are good often enough."""
    rows: list[Row] = []
    for _ in range(draw(st.integers(1, 6))):
        names = draw(st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True))
        row = GOOD | {name: draw(fields[name]) for name in names}
        lacking = draw(st.sampled_from(["", "", "", *GOOD]))
        rows.append({name: value for name, value in row.items() if name not in (lacking, "user" in row and "email")})
    return rows


JSON_FIELDS = {name: field | st.sampled_from(LONE) for name, field in CSV_FIELDS.items()} | {"colour": st.just("red")}


def alone(row: Row, *, as_text: bool) -> UsageRow | str:
    try:
        return read_fields(row, as_text=as_text)
    except BadRow as error:
        return str(error)


def check(rows: Sequence[Row], *, as_text: bool) -> None:
    """Read rows together and each alone, and compare: reasons, values, and how amounts are written."""
    expected = [alone(row, as_text=as_text) for row in rows]
    good = [each for each in expected if isinstance(each, UsageRow)]
    found, reasons = read_rows(rows, as_text=as_text)
    assert reasons == {place: each for place, each in enumerate(expected) if isinstance(each, str)}
    assert list(found.users) == [each.user for each in good]
    assert repr(list(found.occurred_at)) == repr([each.occurred_at for each in good])
    for name, column in found.values.items():
        absent = 0 if name in TOKENS else None
        assert repr(list(column)) == repr([each.values.get(name, absent) for each in good])
    assert {name for each in good for name in each.values} <= {*found.values, "occurred_at", "email", "user"}


@given(rows_of(CSV_FIELDS))
def test_rows_of_a_csv_are_read_together_as_each_is_alone(rows: list[Row]) -> None:
    """Taken out: what looks for the rows that lack something, and for parts that exceed their whole."""
    check(rows, as_text=True)


@given(rows_of(JSON_FIELDS))
@example([GOOD | {"email": None, "user": 5}, GOOD])
@example([GOOD | {"input_tokens": True}, GOOD | {"input_tokens": 1}])
@example([GOOD | {"user": 5}])
@example([GOOD | {"output_tokens": 1, "reasoning_tokens": 2}])
@example([GOOD | {"input_tokens": None, "cache_read_tokens": 1}])
def test_json_lines_are_read_together_as_each_is_alone(rows: list[Row]) -> None:
    """Taken out: what looks for nulls and for unknown fields."""
    check(rows, as_text=False)


POOLS: dict[str, list[str]] = {
    "occurred_at": TIMES, "email": EMAILS, "user": [*COUNTS, *EMAILS], "action_type": ACTIONS, "metadata": METADATA,
    "quantity": AMOUNTS, "api_cost": AMOUNTS, **dict.fromkeys(TOKENS, COUNTS),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CSV_FIELDS))
def test_each_value_is_read_in_a_column_as_it_is_alone(name: str) -> None:
    """Taken out: one by one, each condition by which a whole column is judged."""
    wholes: Row = {} if name in TOKENS else {"input_tokens": "1000000000", "output_tokens": "1000000000"}
    rows = [GOOD | wholes | {name: value} for value in ["", *POOLS.get(name, TEXTS)]]
    if name == "user":
        rows = [{key: value for key, value in row.items() if key != "email"} for row in rows]
    for row in rows:
        check([row], as_text=True)
        check([row, GOOD], as_text=True)
    check([row for row in rows if isinstance(alone(row, as_text=True), UsageRow)], as_text=True)
    for value in LONE:
        check([GOOD | {name: value}], as_text=False)


def by_the_rule(text: str, most: Decimal) -> Decimal:
    number = Decimal(text)
    if not 0 <= number <= most:
        raise ValueError("must be from 0 to")
    number = trimmed(number)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -12:
        raise ValueError("must have at most 12 decimals")
    return number


@given(st.from_regex(values.AMOUNT_PATTERN, fullmatch=True), st.sampled_from([Decimal(10), values.QUANTITY_MAX]))
@example("0.000", Decimal(10))
@example("10.0", Decimal(10))
@example("0100", Decimal(10**9))
@example("0.1234567890120", Decimal(10))
def test_an_amount_is_what_its_text_says_trimmed(text: str, most: Decimal) -> None:
    """Whichever way it is read: the short form by its text, the rest as numbers."""
    read = partial(values.amount, most=most)
    try:
        expected = by_the_rule(text, most)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)):
            read(text)
    else:
        assert read(text).as_tuple() == expected.as_tuple()
        assert str(read(text)) == str(expected)
