"""Usage logs as files: which records they have, where these stand, and which values are taken."""

from __future__ import annotations

import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from groat_server.core.usage_file import RECORD_BYTES_MAX, Lines, Record, is_csv, records
from groat_server.core.usage_row import BadRow, UsageRow, read_fields
from groat_server.errors import Unprocessable

HEADER = b"occurred_at,email,action_type,description\n"
GOOD: dict[str, Any] = {"occurred_at": "2026-01-31T12:00:00Z", "email": "a@example.com", "action_type": "chat"}


def read(text: bytes, *, as_csv: bool = True) -> list[Record]:
    return list(records(Lines(io.BytesIO(text)), as_csv=as_csv))


def row(**changes: object) -> UsageRow:
    return read_fields(GOOD | changes, as_text=False)


def text_row(**changes: str) -> UsageRow:
    return read_fields(GOOD | changes, as_text=True)


def test_a_record_knows_the_lines_it_stands_on() -> None:
    found = read(HEADER + b't,a,x,plain\r\n\n"t",a,x,"two\nlines, ""quoted"""\nt,b,x,\n')
    assert [(record.line, record.next_line) for record in found] == [(2, 3), (4, 6), (6, 7)]
    assert found[1].fields == {
        "occurred_at": "t", "email": "a", "action_type": "x", "description": 'two\nlines, "quoted"'
    }  # fmt: skip
    assert found[1].raw == b'"t",a,x,"two\nlines, ""quoted"""'
    assert found[2].fields == {"occurred_at": "t", "email": "b", "action_type": "x"}


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
    ],
)  # fmt: skip
def test_the_format_is_told_by_the_suffix_or_else_by_looking(suffix: str, head: bytes, *, expected: bool) -> None:
    assert is_csv(suffix, head) is expected


def test_a_row_becomes_a_usage() -> None:
    read_row = text_row(
        email=" A@Example.com ", model="lamp", provider="p", input_tokens="10", cache_read_tokens="4",
        cache_write_tokens="6", output_tokens="3", reasoning_tokens="3", quantity="1.50", api_cost="1e-05",
        description="two\nlines", session_id="s", metadata='{"a": [1, 0.5]}', occurred_at="2026-01-31 12:00:00.5+01",
    )  # fmt: skip
    assert read_row.user == "a@example.com"
    usage = read_row.usage(
        7, key="derived", shift=timedelta(days=1), backfill_before=datetime(2026, 2, 1, 12, tzinfo=UTC)
    )
    assert (usage.user_id, usage.idempotency_key, usage.backfill) == (7, "derived", True)
    assert usage.occurred_at == datetime(2026, 2, 1, 11, 0, 0, 500_000, tzinfo=UTC)
    assert (usage.input_tokens, usage.cache_read_tokens, usage.reasoning_tokens) == (10, 4, 3)
    assert (usage.quantity, usage.api_cost) == (Decimal("1.5"), Decimal("0.00001"))
    assert usage.metadata == {"a": [1, Decimal("0.5")]}


def test_a_row_keeps_its_own_key_and_an_absent_value_is_no_value() -> None:
    usage = row(idempotency_key="own", model=None).usage(
        None, key="derived", shift=timedelta(0), backfill_before=datetime(2020, 1, 1, tzinfo=UTC)
    )
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
