"""The values that every surface takes: the bounds themselves, one step beyond, and what is said to whoever takes it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.core import values
from groat_server.core.text import is_safe, normal_email

if TYPE_CHECKING:
    from collections.abc import Callable

UP_TO_TEN = partial(values.amount, most=Decimal(10))
SIGNED = partial(values.amount, most=Decimal(10), least=Decimal(-10))
UNSAFE = "must not contain control characters or lone surrogates"
NO_OBJECT = f"{UNSAFE}, nor be nested over 32 deep"
OUT_OF_BOUNDS = "must not have a number that is out of bounds"


def nested(depth: int, *, in_lists: bool = False) -> dict[str, Any]:
    """Return an object of so many levels."""
    value: Any = [] if in_lists else {}
    for _ in range(depth - 2):
        value = [value] if in_lists else {"a": value}
    return {"a": value}


TAKEN: list[tuple[Callable[[Any], object], object, object]] = [
    (partial(values.text, longest=3), "abc", "abc"),
    (partial(values.text, longest=3), "a", "a"),
    (partial(values.text, longest=3, shortest=0), "", ""),
    (partial(values.text, longest=3, multiline=True), "a\n\t", "a\n\t"),
    (values.action_type, "a" * 64, "a" * 64),
    (values.email, " Ä@Example.COM ", "ä@example.com"),
    (values.email, "A\u0308@example.com", "ä@example.com"),
    (values.user_id, 1, 1),
    (values.user_id, "1", 1),
    (values.user_id, 2**63 - 1, 2**63 - 1),
    (values.user_id, str(2**63 - 1), 2**63 - 1),
    (values.digits, "007", 7),
    (values.tokens, 0, 0),
    (values.tokens, 10**9, 10**9),
    (UP_TO_TEN, 0, Decimal(0)),
    (UP_TO_TEN, 10, Decimal(10)),
    (UP_TO_TEN, Decimal("0.500"), Decimal("0.5")),
    (UP_TO_TEN, "1e1", Decimal(10)),
    (UP_TO_TEN, "0.000000000001", Decimal("1E-12")),
    (SIGNED, "-10", Decimal(-10)),
    (SIGNED, -10, Decimal(-10)),
    (partial(values.moved_amount, most=Decimal(10)), "0.1", Decimal("0.1")),
    (partial(values.moved_amount, most=Decimal(10), least=Decimal(-10)), "-0.1", Decimal("-0.1")),
    (values.instant, "2026-01-31t12:00:00+05:30", datetime(2026, 1, 31, 6, 30, tzinfo=UTC)),
    (values.instant, "2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
    (values.instant, "2100-12-31T23:59:59Z", datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC)),
    (values.metadata, {"a": "b\n\t", "c": [1, "d\n", {"e": None}]}, {"a": "b\n\t", "c": [1, "d\n", {"e": None}]}),
    (values.metadata, {"a": "x" * 4088}, {"a": "x" * 4088}),
    (values.metadata, nested(32), nested(32)),
    (values.metadata, nested(32, in_lists=True), nested(32, in_lists=True)),
    (values.strict_json, '{"a": 1, "b": 2.50, "c": [true, null]}', {"a": 1, "b": Decimal("2.50"), "c": [True, None]}),
    (values.strict_json, "1" * 60, int("1" * 60)),
    (values.strict_json, "0." + "1" * 58, Decimal("0." + "1" * 58)),
    (values.strict_json, "1.0e60", Decimal("1.0e60")),
    (values.strict_json, "1.0e-60", Decimal("1.0e-60")),
]

REFUSED: list[tuple[Callable[[Any], object], object, str]] = [
    (partial(values.text, longest=3), 5, "must be a text"),
    (partial(values.text, longest=3), "", "must have 1 to 3 characters"),
    (partial(values.text, longest=3), "abcd", "must have 1 to 3 characters"),
    (partial(values.text, longest=3), "a\n", UNSAFE),
    (partial(values.text, longest=3, multiline=True), "a\x00", UNSAFE),
    (partial(values.text, longest=3, multiline=True), "\ud800", UNSAFE),
    (values.action_type, "a" * 65, "must be 1 to 64 of a-z, 0-9 and _.:-"),
    (values.action_type, 5, "must be 1 to 64 of a-z, 0-9 and _.:-"),
    (values.email, 5, "must be an e-mail address"),
    (values.email, "nobody", "must be an e-mail address"),
    (values.user_id, 0, "must be the id of a user"),
    (values.user_id, -1, "must be the id of a user"),
    (values.user_id, "0", "must be the id of a user"),
    (values.user_id, 2**63, "must be the id of a user"),
    (values.user_id, True, "must be the id of a user"),
    (values.user_id, 1.0, "must be the id of a user"),
    (values.user_id, None, "must be the id of a user"),
    (values.digits, "1.0", "must be a whole number"),
    (values.digits, "1" * 20, "must be a whole number"),
    (values.digits, 1, "must be a whole number"),
    (values.tokens, -1, "must be a whole number from 0 to 1000000000"),
    (values.tokens, 10**9 + 1, "must be a whole number from 0 to 1000000000"),
    (values.tokens, True, "must be a whole number from 0 to 1000000000"),
    (UP_TO_TEN, True, "must be a number or a decimal string"),
    (UP_TO_TEN, 1.5, "must be a number or a decimal string"),
    (UP_TO_TEN, "-1", "must be a number or a decimal string"),
    (UP_TO_TEN, -1, "must be from 0 to 10"),
    (UP_TO_TEN, "10.000000000001", "must be from 0 to 10"),
    (UP_TO_TEN, "0.0000000000001", "must have at most 12 decimals"),
    (SIGNED, "-10.1", "must be from -10 to 10"),
    (SIGNED, "--1", "must be a number or a decimal string"),
    (partial(values.moved_amount, most=Decimal(10)), "0.000", "must not be 0"),
    (partial(values.moved_amount, most=Decimal(10)), 11, "must be from 0 to 10"),
    (values.instant, "2026-01-31", "must be a time with its zone, such as 2026-01-31T12:00:00Z"),
    (values.instant, "2026-02-30T12:00:00Z", "must be a time that exists"),
    (values.instant, "1999-12-31T23:59:59Z", "must lie in the years 2000 to 2100"),
    (values.instant, "2101-01-01T00:00:00Z", "must lie in the years 2000 to 2100"),
    (values.metadata, [], "must be an object"),
    (values.metadata, {"a": "x" * 4089}, "must have at most 4096 bytes"),
    (values.metadata, {"a\n": 1}, NO_OBJECT),
    (values.metadata, {"a": ["\x00"]}, NO_OBJECT),
    (values.metadata, nested(33), NO_OBJECT),
    (values.metadata, nested(33, in_lists=True), NO_OBJECT),
    (values.strict_json, '{"a": }', "must be JSON: Expecting value, at character 7"),
    (values.strict_json, "[" * 100_000, "must not be nested so deeply"),
    (values.strict_json, '{"a": 1, "a": 1}', "must not have a key twice in one object"),
    (values.strict_json, "1" * 61, OUT_OF_BOUNDS),
    (values.strict_json, "0." + "1" * 59, OUT_OF_BOUNDS),
    (values.strict_json, "1.0e61", OUT_OF_BOUNDS),
    (values.strict_json, "1.0e-61", OUT_OF_BOUNDS),
    (values.strict_json, "1.0e" + "9" * 30, OUT_OF_BOUNDS),
    (values.strict_json, "Infinity", "must not have Infinity, which is not JSON"),
]


@pytest.mark.parametrize(("take", "value", "expected"), TAKEN)
def test_a_value_within_its_bounds_is_taken(take: Callable[[Any], object], value: object, expected: object) -> None:
    found = take(value)
    assert found == expected
    if isinstance(found, datetime):
        assert found.tzinfo is UTC


@pytest.mark.parametrize(("take", "value", "reason"), REFUSED)
def test_a_value_beyond_its_bounds_is_refused_with_the_reason(
    take: Callable[[Any], object], value: object, reason: str
) -> None:
    with pytest.raises(ValueError, match="must") as refusal:
        take(value)
    assert str(refusal.value) == reason


def test_a_text_is_of_one_line_unless_said_otherwise() -> None:
    assert not is_safe("a\nb")
    assert is_safe("a\nb", multiline=True)


def test_an_address_is_lower_case_in_the_end() -> None:
    assert normal_email(" K\u0301@Example.com ") == "\u1e31@example.com"
