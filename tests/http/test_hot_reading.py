"""What the hot routes read without pydantic: never more than the application's routes take, and never otherwise."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from groat_server.core.credits import Amount, trimmed
from groat_server.core.holds import HoldName
from groat_server.core.outcomes import Outcome
from groat_server.core.price_book import PriceVersion
from groat_server.core.pricing import Charge
from groat_server.core.rates import Rates
from groat_server.core.rows import ChargeRow
from groat_server.core.usage import Usage
from groat_server.errors import BadRequest
from groat_server.http.holds import CaptureRequest, HoldRequest, captured_usage, new_hold
from groat_server.http.hot.reading import read_batch, read_capture, read_hold, read_usage
from groat_server.http.hot.shapes import quotes_in
from groat_server.http.hot.writing import ReceiptWriter
from groat_server.http.json import decode, encode
from groat_server.http.keys import one_key
from groat_server.http.shaping import receipt_shape
from groat_server.http.usage import BatchRequest, UsageRequest, usage_of
from groat_server.operations.usage import Receipt
from tests.http.hostile import VALUES

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD = HoldName(7, 8)
TEXTS = st.sampled_from(
    [
        "a",
        "chat",
        "claude-3-5-sonnet",
        "x" * 255,
        "y" * 256,
        "é",
        "😀",
        'a "quoted" \\ text',
        "a\nb",
        "\t",
        "",
        "\x7f",
        "null",
    ]
)
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "user": st.sampled_from([1, 2**63 - 1, "Ann@Example.com ", "a@b", {"external_id": "u-1"}]),
    "action_type": st.sampled_from(["chat", "a:b.c-d_e", "x" * 64]),
    "model": st.none() | TEXTS,
    "provider": st.none() | TEXTS,
    "input_tokens": st.sampled_from([0, 1, 1000, 10**9]),
    "output_tokens": st.sampled_from([0, 1, 500]),
    "max_output_tokens": st.sampled_from([0, 500]),
    "cache_read_tokens": st.sampled_from([0, 1]),
    "cache_write_tokens": st.sampled_from([0, 1]),
    "reasoning_tokens": st.sampled_from([0, 1]),
    "quantity": st.none() | st.sampled_from([1, "2", "0.5", "1e3", 0, "1.50"]),
    "amount": st.none() | st.sampled_from([1, "2.50", 0]),
    "api_cost": st.none() | st.sampled_from([1, "0.25", "1e-8", "0001.0"]),
    "occurred_at": st.none() | st.sampled_from(["2026-01-31T12:00:00Z", "2026-01-31 12:00:00.5+02"]),
    "description": st.none() | TEXTS,
    "session_id": st.none() | TEXTS,
    "metadata": st.none() | st.sampled_from([{}, {"a": 1, "b": ["x", {"c": None}]}, {'"': '\\"'}, {"a": 10**30}]),
    "mode": st.sampled_from(["record", "enforce"]),
    "backfill": st.booleans(),
    "ttl_seconds": st.sampled_from([1, 900, 86400]),
    "idempotency_key": st.none() | TEXTS,
}
NUMBERS = st.sampled_from(
    ["1.5", "0.10", "1e2", "-0", "-0.0", "1.0", "12345678.123456789012", "0.0000000000001", "1E400"]
)
SPACES = st.sampled_from(["", "", " ", "\n\t "])


@st.composite
def bodies(draw: st.DrawFn, model: type[BaseModel]) -> bytes:
    """Draw a body: mostly fields of the model with good values, now and then anything else, or a field twice."""
    names = draw(st.lists(st.sampled_from([*model.model_fields, *model.model_fields, "unknown"]), max_size=8))
    required = [name for name, field in model.model_fields.items() if field.is_required()]
    if draw(st.integers(0, 9)):
        names = [*required, *(name for name in dict.fromkeys(names) if name not in required)]
    members = []
    for name in draw(st.permutations(names)):
        good = GOOD.get(name, TEXTS).map(lambda value: json.dumps(value, ensure_ascii=draw(st.booleans())))
        raw = draw(good if draw(st.integers(0, 7)) else NUMBERS | st.sampled_from(list(VALUES.values())))
        written = "".join(f"\\u{ord(letter):04x}" for letter in name) if draw(st.integers(0, 30)) == 0 else name
        members.append(f'{draw(SPACES)}"{written}"{draw(SPACES)}:{draw(SPACES)}{raw}{draw(SPACES)}')
    body = f"{draw(SPACES)}{{{','.join(members)}}}{draw(SPACES)}".encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 15)) == 0:
        at = draw(st.integers(0, len(body) - 1))
        body = body[:at] + draw(st.binary(max_size=2)) + body[at + 1 :]
    return body


KEYS = st.none() | st.sampled_from(["header-key", "a"])


def application_reads(read: Callable[[], Any]) -> Any:
    """Return what the application's own route would work on, None where it refuses."""
    try:
        return read()
    except (json.JSONDecodeError, ValidationError, BadRequest):
        return None


def exact(value: Any) -> Any:
    """Return a value such that equal ones are written alike: 1 and True, 1.0 and 1 are not the same."""
    return repr(value).replace("Amount(", "Decimal(")


def of_usage(body: bytes, key: str | None) -> tuple[Usage, Any]:
    asked = UsageRequest.model_validate(decode(body))
    return usage_of(asked, None, one_key(key, asked.idempotency_key)), asked.user


@given(bodies(UsageRequest), KEYS)
@example(b'{"user":1,"action_type":"a","action_type":"b","idempotency_key":"k"}', None)
@example(b'{"user":1,"action_type":"a","quantity":1,"quantity":2}', "k")
@example(b'{"user":{"external_id":"a","external_id":"b"},"action_type":"a"}', "k")
@example(b'{"user":1,"action_type":"a","metadata":{"a":1,"a":2}}', "k")
@example(b'{"user":1,"action_type":"a","metadata":"\\"\\\\\\""}', "k")
@example(b'{"user":1,"action_type":"a","description":"\\"","description":"x"}', "k")
@example(b'{"user":1,"action_type":"a","descriptio\\u006e":"x"}', "k")
@example(b'{"user":1,"action_type":"a","is_admin":1}', "k")
@example(b'{"user":1,"action_type":"a","quantity":NaN}', "k")
@example(b'{"user":true,"action_type":"a"}', "k")
@example(b'{"user":1,"action_type":"a","input_tokens":1,"cache_read_tokens":2}', "k")
def test_a_use_that_is_read_at_once_is_what_the_application_reads(body: bytes, key: str | None) -> None:
    read = read_usage(body, key)
    if read is not None:
        assert exact(read) == exact(application_reads(lambda: of_usage(body, key)))


@given(bodies(CaptureRequest), KEYS)
@example(b'{"action_type":"a","action_type":"b"}', "k")
@example(b'{"action_type":"a","user":1}', "k")
@example(b'{"action_type":"a","output_tokens":1,"reasoning_tokens":2}', "k")
def test_a_capture_that_is_read_at_once_is_what_the_application_reads(body: bytes, key: str | None) -> None:
    def of_capture() -> Usage:
        asked = CaptureRequest.model_validate(decode(body))
        return captured_usage(asked, HOLD, one_key(key, asked.idempotency_key))

    read = read_capture(body, key, HOLD)
    if read is not None:
        assert exact(read) == exact(application_reads(of_capture))


@given(bodies(HoldRequest), KEYS)
@example(b'{"user":1,"amount":1,"amount":2}', "k")
@example(b'{"user":1,"amount":null}', "k")
@example(b'{"user":1,"amount":1,"metadata":{}}', "k")
def test_a_hold_that_is_read_at_once_is_what_the_application_reads(body: bytes, key: str | None) -> None:
    def of_hold() -> tuple[Any, Any]:
        asked = HoldRequest.model_validate(decode(body))
        return new_hold(asked, 9, one_key(key, asked.idempotency_key)), asked.user

    read = read_hold(body, key)
    if read is not None:
        new, user = read
        assert exact((new(9), user)) == exact(application_reads(of_hold))


TWICE = b'{"user":1,"action_type":"a","action_type":"b","idempotency_key":"k"}'
ONCE = b'{"user":1,"action_type":"a","idempotency_key":"k"}'


@given(st.lists(bodies(UsageRequest), max_size=3), st.sampled_from(["", ',"events":[]', ',"other":1', ","]))
@example([TWICE], "")
@example([ONCE, TWICE], "")
@example([ONCE], ',"events":[]')
@example([ONCE], f',"events":[{ONCE.decode()}]')
@example([ONCE], ',"other":1')
@example([ONCE[:-1] + b',"is_admin":true}'], "")
@example([], "")
@example([ONCE] * 1001, "")
def test_a_batch_that_is_read_at_once_is_what_the_application_reads(items: list[bytes], more: str) -> None:
    body = b'{"events":[' + b",".join(items) + b"]" + more.encode() + b"}"

    def of_batch() -> tuple[list[Usage], list[Any]]:
        asked = [UsageRequest.model_validate(item) for item in BatchRequest.model_validate(decode(body)).events]
        return [usage_of(item, None, one_key(None, item.idempotency_key)) for item in asked], [
            item.user for item in asked
        ]

    read = read_batch(body)
    if read is not None:
        assert exact(read) == exact(application_reads(of_batch))


ORDINARY = [
    {"user": 1, "action_type": "chat", "model": "gpt-4o", "input_tokens": 10, "output_tokens": 5},
    {"user": "ann@example.com", "action_type": "unit", "quantity": 1.5, "mode": "enforce"},
    {"user": {"external_id": "u-1"}, "action_type": "chat", "api_cost": "0.000012", "backfill": True},
    {
        "user": 1,
        "action_type": "chat",
        "description": 'Ünï "c" \\ \n',
        "metadata": {"a": [1, "\u00e9"]},
        "session_id": "s",
    },
    {"user": 1, "action_type": "chat", "model": None, "quantity": None, "occurred_at": "2026-01-31T12:00:00Z"},
]


@pytest.mark.parametrize("asked", ORDINARY)
@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize("indent", [None, 2])
def test_what_clients_send_is_read_at_once(asked: dict[str, Any], indent: int | None, *, ensure_ascii: bool) -> None:
    keyed = {**asked, "idempotency_key": "k"}
    text = json.dumps(keyed, ensure_ascii=ensure_ascii, indent=indent).encode()
    assert read_usage(text, None) is not None
    assert read_usage(text, "k") is not None
    assert read_usage(text, "another") is None
    assert read_batch(json.dumps({"events": [keyed] * 3}, indent=indent).encode()) is not None
    capture = {name: value for name, value in keyed.items() if name not in {"user", "mode", "backfill"}}
    assert read_capture(json.dumps(capture, ensure_ascii=ensure_ascii).encode(), None, HOLD) is not None
    hold = {"user": asked["user"], "amount": "1.50", "ttl_seconds": 60, "idempotency_key": "k"}
    assert read_hold(json.dumps(hold, indent=indent).encode(), None) is not None


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda parts: st.dictionaries(st.text(), parts) | st.lists(parts)
    )
)
def test_quotation_marks_are_counted_where_texts_begin_and_end(value: Any) -> None:
    def texts(part: Any) -> int:
        match part:
            case str():
                return 1
            case dict():
                return len(part) + sum(map(texts, part.values()))
            case list():
                return sum(map(texts, part))
        return 0

    for ensure_ascii in (True, False):
        text = json.dumps(value, ensure_ascii=ensure_ascii).encode("utf-8", "surrogatepass")
        assert quotes_in(text) == 2 * texts(value)


AMOUNTS = st.decimals(-(10**12), 10**12, places=12).map(trimmed)
VERSION = PriceVersion(
    id=3,
    kind="model",
    name="lamp",
    provider="é",
    source="catalogue",
    rates=Rates(input=Decimal("0.1"), output=Decimal(2)),
)
USAGE = Usage(user_id=1, idempotency_key="k", action_type="chat", model="lamp")
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is drawn
PRICED = st.builds(
    Charge,
    AMOUNTS,
    st.none() | AMOUNTS,
    st.sampled_from([Amount(10), Amount("0.5")]),
    st.sampled_from([Amount(1), Amount("1.5")]),
    st.sampled_from(["model", "caller", "unpriced"]),
    st.sampled_from([None, 3]),
    st.none(),
    st.none(),
)
WRITER = ReceiptWriter()
"""Writes all of them, as the service's own does."""
ANSWERED = st.fixed_dictionaries(
    {
        "event_id": st.integers(1, 2**63),
        "created_at": st.none() | INSTANTS.map(str),
        "balance": AMOUNTS.map(str),
        "available": AMOUNTS.map(str),
        "version": st.integers(1, 2**63),
        "voided": st.sampled_from([None, False, True]),
        "instant": INSTANTS.map(str),
    }
)


@given(
    st.sampled_from([Outcome.RECORDED, Outcome.REPLAYED]),
    PRICED,
    ANSWERED,
    st.sampled_from([None, "lamp", 'a "model" \\ é']),
    st.none() | INSTANTS,
)
def test_a_receipt_is_written_as_its_shape_is(
    outcome: Outcome, charge: Charge, answered: dict[str, Any], model: str | None, occurred_at: datetime | None
) -> None:
    version = None if charge.price_id is None else VERSION
    answer = tuple(answered.get(field.name) for field in fields(ChargeRow))
    receipt = Receipt(outcome, replace(USAGE, model=model, occurred_at=occurred_at), charge, version, answer)
    for _ in range(2):  # with the price just written, and with the one known
        assert f"{{{WRITER.text(receipt)}}}".encode() == encode(receipt_shape(receipt))


def test_an_untracked_receipt_is_written_as_its_shape_is() -> None:
    receipt = Receipt(Outcome.UNTRACKED, USAGE)
    assert f"{{{ReceiptWriter().text(receipt)}}}".encode() == encode(receipt_shape(receipt))
