"""Usage logs as files: which records they have, where these stand, and which values are taken."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from groat_server.core.usage import Usage
from groat_server.core.usage_columns import read_rows
from groat_server.core.usage_file import RECORD_BYTES_MAX, Lines, Record, count_records, is_csv, records
from groat_server.core.usage_row import BadRow, UsageRow, read_fields
from groat_server.errors import Unprocessable

HEADER = b"occurred_at,email,action_type,description\n"
GOOD: dict[str, Any] = {"occurred_at": "2026-01-31T12:00:00Z", "email": "a@example.com", "action_type": "chat"}


def read(text: bytes, *, as_csv: bool = True) -> list[Record]:
    return [record for _, record in records(Lines(io.BytesIO(text)), as_csv=as_csv)]


def row(**changes: object) -> UsageRow:
    return read_fields(GOOD | changes, as_text=False)


def text_row(**changes: str) -> UsageRow:
    return read_fields(GOOD | changes, as_text=True)


def usage_of(fields: dict[str, object], *, as_text: bool = False, day: timedelta = timedelta(0), late: str) -> Usage:
    """Read one row and return the usage of user 7 that it makes; uses before `late` are backfilled."""
    rows, faults = read_rows([GOOD | fields], as_text=as_text)
    assert faults == {}
    (usage,) = rows.usages([7], ["derived"], shift=day, backfill_before=datetime.fromisoformat(late))
    return usage


def test_a_record_knows_the_lines_it_stands_on() -> None:
    found = read(HEADER + b't,a,x,plain\r\n\n"t",a,x,"two\nlines, ""quoted"""\nt,b,x,\n')
    assert [(record.line, record.next_line) for record in found] == [(2, 3), (4, 6), (6, 7)]
    assert found[1].fields == {
        "occurred_at": "t", "email": "a", "action_type": "x", "description": 'two\nlines, "quoted"'
    }  # fmt: skip
    assert found[1].raw == b'"t",a,x,"two\nlines, ""quoted"""'
    assert found[2].fields == {"occurred_at": "t", "email": "b", "action_type": "x"}


@pytest.mark.parametrize("as_csv", [True, False])
def test_records_are_counted_as_they_are_read_and_reading_may_begin_at_any_of_them(*, as_csv: bool) -> None:
    """Taken out: the number of a record among all, which began at 1 with the first one that was read."""
    line = b't,a,x,"open\n' if as_csv else json.dumps(GOOD).encode() + b"\n"
    text = (HEADER if as_csv else b"") + b"\n" + line + b"\r\n" + line * 2
    counted = list(count_records(Lines(io.BytesIO(text)), as_csv=as_csv))
    found = list(records(Lines(io.BytesIO(text)), as_csv=as_csv))
    assert [number for number, _ in found] == counted == [1, 2, 3]
    assert [record.line for _, record in found] == ([3, 5, 6] if as_csv else [2, 4, 5])
    for first_line in range(8):
        rest = list(records(Lines(io.BytesIO(text)), as_csv=as_csv, first_line=first_line))
        assert rest == [(number, record) for number, record in found if record.line >= first_line]


def test_a_quote_that_is_never_closed_spoils_its_own_line_only() -> None:
    found = read(HEADER + b't,a,x,"open\nt,b,x,\nt,c,x,"closed"\nt,d,x,last')
    assert [(record.line, record.fault is None) for record in found] == [(2, False), (3, True), (4, True), (5, True)]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"t,a,x", "3 values where the header has 4"),
        (b"t,a,x,d,e", "5 values where the header has 4"),
        (b"t,a,x,\xff", "not UTF-8, at byte 7"),
        (b't,a,x,"d"e', "expected after"),
        (b"t,a,x," + b"d" * RECORD_BYTES_MAX, "more than 65536 bytes"),
    ],
)
def test_a_record_that_cannot_be_read_says_why_and_the_next_is_read(line: bytes, fault: str) -> None:
    bad, good = read(HEADER + line + b"\nt,a,x,d\n")
    assert bad.fields is None
    assert bad.fault is not None
    assert fault in bad.fault
    assert len(bad.raw) <= RECORD_BYTES_MAX
    assert (good.line, good.fault) == (3, None)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"", "empty"),
        (b"occurred_at,email,action_type,colour,shape\n", "'colour', 'shape'"),
        (b"occurred_at,email\n", "action_type"),
        (b"action_type\n", "occurred_at, email (or user)"),
        (b"occurred_at,email,user,action_type\n", "twice"),
        (b"occurred_at,email,email,action_type\n", "twice"),
        (b"\xff\xfeo\x00c\x00\n", "not UTF-8"),
    ],
)
def test_a_csv_whose_columns_do_not_fit_is_refused_as_a_whole(header: bytes, complaint: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        read(header)
    assert complaint in refusal.value.detail
    assert refusal.value.problem_code == "bad_file"


def test_json_lines_are_objects_and_the_first_shows_the_fields() -> None:
    good = json.dumps(GOOD).encode()
    found = read(b"\xef\xbb\xbf\n" + good + b"\n[1]\n{bad\n" + good, as_csv=False)
    assert [(record.line, record.fault is None) for record in found] == [(2, True), (3, False), (4, False), (5, True)]
    with pytest.raises(Unprocessable, match="'colour'"):
        read(json.dumps(GOOD | {"colour": "red"}).encode(), as_csv=False)
    with pytest.raises(Unprocessable, match="JSON array"):
        read(json.dumps([GOOD], indent=1).encode(), as_csv=False)


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', '{"a": 1e999}', '{"a": ' + "[" * 3000 + "}"])
def test_json_that_is_not_strict_is_a_fault(text: str) -> None:
    (found,) = read(text.encode(), as_csv=False)
    assert found.fault is not None


def test_a_byte_order_mark_is_no_part_of_the_header() -> None:
    assert len(read(b"\xef\xbb\xbf" + HEADER + b"t,a,x,d\n")) == 1


def test_the_digest_is_of_every_byte_and_reading_ends_where_it_is_told() -> None:
    text = b"\xef\xbb\xbfone\n" + b"x" * (3 * RECORD_BYTES_MAX) + b"\nthree"
    lines = Lines(io.BytesIO(text))
    assert [len(line) for line in lines] == [4, RECORD_BYTES_MAX + 1, 5]
    assert lines.digest.digest() == hashlib.sha256(text).digest()
    assert list(Lines(io.BytesIO(b"one\ntwo\nthree"), until=6)) == [b"one\n", b"tw"]


@pytest.mark.parametrize(
    ("suffix", "head", "expected"),
    [
        (".csv", b"{", True), (".JSONL", b"a,b", False), (".ndjson", b"", False),
        (".log", b' \n{"a": 1}', False), (".log", b"occurred_at,email", True), ("", b"\xef\xbb\xbf{", False),
        (".log", b"[1]", False),
    ],
)  # fmt: skip
def test_the_format_is_told_by_the_suffix_or_else_by_looking(suffix: str, head: bytes, *, expected: bool) -> None:
    assert is_csv(suffix, head) is expected


def test_a_row_becomes_a_usage() -> None:
    fields: dict[str, object] = {
        "email": " A@Example.com ", "model": "lamp", "provider": "p", "input_tokens": "10", "cache_read_tokens": "4",
        "cache_write_tokens": "6", "output_tokens": "3", "reasoning_tokens": "3", "quantity": "1.50",
        "api_cost": "1e-05", "description": "two\nlines", "session_id": "s", "metadata": '{"a": [1, 0.5]}',
        "occurred_at": "2026-01-31 12:00:00.5+01",
    }  # fmt: skip
    assert read_rows([GOOD | fields], as_text=True)[0].users == ["a@example.com"]
    usage = usage_of(fields, as_text=True, day=timedelta(days=1), late="2026-02-01T12:00:00Z")
    assert (usage.user_id, usage.idempotency_key, usage.backfill) == (7, "derived", True)
    assert usage.occurred_at == datetime(2026, 2, 1, 11, 0, 0, 500_000, tzinfo=UTC)
    assert (usage.input_tokens, usage.cache_read_tokens, usage.reasoning_tokens) == (10, 4, 3)
    assert (usage.quantity, usage.api_cost) == (Decimal("1.5"), Decimal("0.00001"))
    assert usage.metadata == {"a": [1, Decimal("0.5")]}


def test_a_row_keeps_its_own_key_and_an_absent_value_is_no_value() -> None:
    usage = usage_of({"idempotency_key": "own", "model": None}, late="2020-01-01T00:00:00Z")
    assert (usage.idempotency_key, usage.model, usage.input_tokens, usage.backfill) == ("own", None, 0, False)


@pytest.mark.parametrize(("user", "expected"), [("12", 12), ("B@example.com", "b@example.com")])
def test_a_user_is_an_id_or_an_address(user: str, expected: object) -> None:
    fields = {"occurred_at": GOOD["occurred_at"], "action_type": "chat"}
    assert read_fields(fields | {"user": user}, as_text=True).user == expected
    assert read_fields(fields | {"user": expected}, as_text=False).user == expected


BAD_TEXTS = [
    ("input_tokens", "1.0"), ("input_tokens", "-1"), ("input_tokens", " 1"), ("input_tokens", "٣"),
    ("input_tokens", "1000000001"), ("output_tokens", "1e3"), ("output_tokens", "9" * 30),
    ("occurred_at", "2026-01-31T12:00:00"), ("occurred_at", "2026-01-31"), ("occurred_at", "2026-02-30T12:00:00Z"),
    ("occurred_at", "1769860800"), ("occurred_at", "1999-12-31T23:59:59Z"),
    ("occurred_at", "9999-12-31T23:59:59-14:00"), ("occurred_at", "0001-01-01T00:00:00+14:00"),
    ("email", "nobody"), ("email", "a\x00@example.com"), ("email", "a@" + "b" * 400),
    ("action_type", "Chat"), ("action_type", "a" * 65), ("action_type", "chat\n"),
    ("model", "m" * 201), ("model", "a\nb"), ("provider", "p" * 101), ("session_id", "s" * 256),
    ("idempotency_key", "k" * 256), ("idempotency_key", "a\tb"),
    ("description", "d" * 501), ("description", "a\x1bb"),
    ("quantity", "-1"), ("quantity", "NaN"), ("quantity", "1000000001"), ("quantity", "1,5"),
    ("api_cost", "1000000.01"), ("api_cost", "0.0000000000001"), ("api_cost", "Infinity"), ("api_cost", "1e99"),
    ("metadata", "[]"), ("metadata", "{"), ("metadata", '{"a": "\\u0000"}'),
    ("metadata", '{"a": "' + "x" * 4090 + '"}'),
    ("reasoning_tokens", "1"), ("cache_read_tokens", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_TEXTS)
def test_a_bad_value_in_a_csv_is_refused_with_its_name(name: str, value: str) -> None:
    with pytest.raises(BadRow, match=name.partition("_read")[0]):
        text_row(**{name: value})


BAD_VALUES: list[tuple[str, object]] = [
    ("input_tokens", None), ("input_tokens", "1"), ("input_tokens", True), ("input_tokens", Decimal("1.0")),
    ("output_tokens", -1), ("occurred_at", None), ("occurred_at", 1769860800), ("email", None), ("email", 5),
    ("action_type", None), ("model", 4), ("description", ["d"]), ("quantity", True), ("quantity", {}),
    ("api_cost", Decimal("0.0000000000001")), ("metadata", "{}"), ("metadata", {"a": {"b": "\ud800"}}),
    ("user", "a@example.com"), ("colour", "red"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_VALUES)
def test_a_bad_value_in_json_lines_is_refused_with_its_name(name: str, value: object) -> None:
    with pytest.raises(BadRow, match=name):
        row(**{name: value})


@pytest.mark.parametrize("name", ["occurred_at", "email", "action_type"])
def test_a_row_lacks_nothing_that_is_required(name: str) -> None:
    with pytest.raises(BadRow, match=name):
        read_fields({key: value for key, value in GOOD.items() if key != name}, as_text=True)


def test_bounds_themselves_are_taken() -> None:
    text_row(input_tokens="1000000000", cache_read_tokens="600000000", cache_write_tokens="400000000")
    text_row(description="d" * 500, idempotency_key="k" * 255, action_type="a" * 64, api_cost="1000000")
    assert row(quantity="0.000000000001", api_cost=0).values["quantity"] == Decimal("1e-12")
    assert text_row(occurred_at="2026-01-31T12:00:00.123456789Z").occurred_at.microsecond == 123_456


COLUMNS = (
    "occurred_at, email, action_type, model, provider, quantity, api_cost, description, session_id, idempotency_key, "
    "input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, user, metadata"
)
TEN_COLUMNS = ", ".join(repr(letter * 60) for letter in "abcdefghij")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"", "The file is empty; a CSV begins with a header."),
        (b"\xff\n", "The header cannot be read: it is not UTF-8, at byte 1."),
        (
            b"colour,occurred_at\n",
            f"There is no column 'colour' in a usage log; the columns are {COLUMNS}.",
        ),
        (
            ",".join(letter * 70 for letter in "abcdefghijklm").encode(),
            f"There is no column {TEN_COLUMNS} in a usage log; the columns are {COLUMNS}.",
        ),
        (b"model,model,email,occurred_at\n", "The column 'model' stands twice in the header."),
        (
            b"occurred_at,action_type,email,user\n",
            "The file names its users twice: it takes one of the columns email and user.",
        ),
        (b"email,occurred_at\n", "The file lacks the column action_type."),
        (b"model\n", "The file lacks the column occurred_at, action_type, email (or user)."),
    ],
)
def test_a_file_that_is_refused_says_why(text: bytes, detail: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        read(text)
    assert refusal.value.detail == detail


def test_the_users_of_a_file_may_be_in_the_column_user() -> None:
    (found,) = read(b"occurred_at,user,action_type\nt,7,chat\n")
    assert found.fields == {"occurred_at": "t", "user": "7", "action_type": "chat"}


def test_a_json_array_is_refused_and_says_why() -> None:
    with pytest.raises(Unprocessable) as refusal:
        read(b"[]", as_csv=False)
    assert refusal.value.detail == "The file is one JSON array; JSON Lines have one object a line."


def test_a_json_record_stands_on_its_line_with_or_without_a_fault() -> None:
    good = json.dumps(GOOD).encode()
    assert read(good + b"\r\n\n[1]\r\n{bad\n", as_csv=False) == [
        Record(1, 2, good, GOOD),
        Record(3, 4, b"[1]", None, "it is not a JSON object"),
        Record(4, 5, b"{bad", None, "must be JSON: Expecting property name enclosed in double quotes, at character 2"),
    ]


def test_only_the_first_json_object_shows_the_fields_of_the_file() -> None:
    good = json.dumps(GOOD).encode()
    other = json.dumps({"colour": "red"}).encode()
    found = read(good + b"\n" + other + b"\n[\n", as_csv=False)
    assert [(record.line, record.fields) for record in found[:2]] == [(1, GOOD), (2, {"colour": "red"})]
    assert found[2].fault is not None


def test_a_csv_record_that_cannot_be_read_stands_on_its_line() -> None:
    assert read(HEADER + b"t,a\r\nt,b,x,d\r\n") == [
        Record(2, 3, b"t,a", None, "it has 2 values where the header has 4 columns"),
        Record(3, 4, b"t,b,x,d", {"occurred_at": "t", "email": "b", "action_type": "x", "description": "d"}),
    ]


def test_an_open_quote_is_a_fault_of_its_line_and_the_lines_after_it_are_read() -> None:
    """Also where two quotes are open one after the other, and where the first record ends in the second's lines."""
    found = read(HEADER + b't,a,x,"one\nt,b,x,"two\nt,c,x,three\n\nt,d,x,"four\n five"\n')
    assert [(record.line, record.next_line, record.raw, record.fault) for record in found] == [
        (2, 3, b't,a,x,"one', "a quoted text has no end"),
        (3, 4, b't,b,x,"two', "a quoted text has no end"),
        (4, 5, b"t,c,x,three", None),
        (6, 8, b't,d,x,"four\n five"', None),
    ]


def test_an_open_quote_takes_no_more_lines_than_a_record_may_have() -> None:
    """Taken out: the bound on what an open quote takes; the whole file then came into memory."""
    line = b"x" * 999 + b"\n"
    lines = Lines(io.BytesIO(HEADER + b't,a,x,"open\n' + line * 700 + b'end"\n'))
    found = records(lines, as_csv=True)
    _, first = next(found)
    assert (first.line, first.next_line, first.fault) == (2, 3, "a quoted text has no end")
    assert lines.offset <= 2 * RECORD_BYTES_MAX  # it is read in blocks
    assert len(list(found)) == 701


def test_a_quote_that_is_open_on_the_last_line_has_no_end() -> None:
    (found,) = read(HEADER + b't,a,x,"open')
    assert found.fault == "a quoted text has no end"


def test_a_record_may_have_just_so_many_bytes_with_its_line_end() -> None:
    longest = b"t,a,x," + b"d" * (RECORD_BYTES_MAX - 7)
    taken, refused, last = read(HEADER + longest + b"\n" + longest + b"d\n" + longest + b"d")
    assert (taken.fault, taken.raw) == (None, longest)
    assert (refused.fault, refused.raw) == ("it has more than 65536 bytes", longest[:1000])
    assert (last.fault, last.raw) == (None, longest + b"d")


def test_a_row_hands_on_every_field() -> None:
    values: dict[str, Any] = {
        "action_type": "chat", "model": "lamp", "provider": "p", "input_tokens": 10, "output_tokens": 9,
        "cache_read_tokens": 4, "cache_write_tokens": 5, "reasoning_tokens": 3, "quantity": Decimal("1.5"),
        "api_cost": Decimal("0.5"), "description": "d", "session_id": "s", "idempotency_key": "own",
        "metadata": {"a": 1},
    }  # fmt: skip
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    usage = usage_of(values, late="2026-01-31T12:00:00Z")
    assert usage == Usage(user_id=7, occurred_at=at, backfill=False, **values)


def test_a_row_that_says_little_has_no_tokens_and_nothing_else() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    usage = usage_of({}, late="2026-01-31T12:00:00.000001Z")
    assert usage == Usage(user_id=7, idempotency_key="derived", action_type="chat", occurred_at=at, backfill=True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"colour": "red"}, "there is no field 'colour'"),
        ({"c" * 300: "red"}, f"there is no field '{'c' * 181}"),
        ({"input_tokens": None}, "input_tokens must be a whole number from 0 to 1000000000"),
        ({"user": 7}, "it takes one of email and user"),
        (
            {"input_tokens": 9, "cache_read_tokens": 4, "cache_write_tokens": 6},
            "the cached tokens exceed input_tokens, of which they are parts",
        ),
        ({"cache_write_tokens": 1}, "the cached tokens exceed input_tokens, of which they are parts"),
        (
            {"output_tokens": 2, "reasoning_tokens": 3},
            "reasoning_tokens exceed output_tokens, of which they are a part",
        ),
    ],
)
def test_a_row_that_is_refused_says_why(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(BadRow) as refusal:
        row(**fields)
    assert str(refusal.value) == reason


@pytest.mark.parametrize("name", ["occurred_at", "action_type"])
def test_a_row_says_what_it_lacks(name: str) -> None:
    with pytest.raises(BadRow) as refusal:
        read_fields({key: value for key, value in GOOD.items() if key != name}, as_text=False)
    assert str(refusal.value) == f"{name} is missing"


def test_metadata_in_a_csv_may_have_line_breaks_and_so_many_characters() -> None:
    assert text_row(metadata='{"a":\n"b"}').values["metadata"] == {"a": "b"}
    longest = '{"a": "' + "x" * 4087 + '"}'
    assert len(longest) == 4096
    text_row(metadata=longest)
    with pytest.raises(BadRow, match="metadata must have 1 to 4096 characters"):
        text_row(metadata=longest + " ")


def test_what_follows_an_absent_value_is_taken() -> None:
    assert row(model=None, provider="p").values["provider"] == "p"
