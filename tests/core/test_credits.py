"""Amounts are exact, rounded once, and printed as people write them."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Context, Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groat_server.core.credits import MAX_API_COST, MAX_CREDITS_PER_DOLLAR, MAX_MULTIPLIER, credits_for, plain, trimmed

amounts = st.decimals(0, 10**6, places=12)


def test_the_default_price_of_a_dollar_is_ten_credits() -> None:
    assert str(credits_for(Decimal("0.0105"), Decimal(10), Decimal(1))) == "0.105"


@pytest.mark.parametrize(
    ("multiplier", "expected"),
    [("0.4", "0"), ("0.5", "0.000000000001"), ("1.4999", "0.000000000001"), ("1.5", "0.000000000002")],
)
def test_the_thirteenth_decimal_is_rounded_half_up(multiplier: str, expected: str) -> None:
    assert plain(credits_for(Decimal("1E-12"), Decimal(1), Decimal(multiplier))) == expected


def test_a_product_of_more_than_28_digits_is_not_rounded_twice() -> None:
    cost, rate, multiplier = Decimal("999999.999999999999"), Decimal("999999.999999999999"), Decimal("999.999999999999")
    exact = Fraction(cost) * Fraction(rate) * Fraction(multiplier)
    expected = Decimal((exact * 10**12 + Fraction(1, 2)).__floor__()).scaleb(-12, Context(prec=60))
    assert credits_for(cost, rate, multiplier) == expected


def test_the_bounds_themselves_can_be_charged() -> None:
    assert credits_for(MAX_API_COST, MAX_CREDITS_PER_DOLLAR, MAX_MULTIPLIER) == Decimal(10) ** 15


def test_factors_too_fine_to_multiply_exactly_are_an_error() -> None:
    with pytest.raises(Inexact):
        credits_for(Decimal("1." + "1" * 60), Decimal("1." + "1" * 70), Decimal(1))


@given(amounts, amounts, st.decimals(0, 1000, places=12))
def test_credits_are_the_exact_product_rounded_once(cost: Decimal, rate: Decimal, multiplier: Decimal) -> None:
    wide = Context(prec=200, rounding=ROUND_HALF_UP)
    product = wide.multiply(wide.multiply(cost, rate), multiplier)
    owed = credits_for(cost, rate, multiplier)
    assert owed == wide.quantize(product, Decimal("1E-12"))
    assert owed.as_tuple() == trimmed(owed).as_tuple()


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("5E-7", "0.0000005"),
        ("1E+3", "1000"),
        ("85.230000000000", "85.23"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0E+5", "0"),
        ("0E-30", "0"),
        ("-1.50", "-1.5"),
        ("100", "100"),
        ("100.00", "100"),
    ],
)
def test_amounts_print_in_plain_notation(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text
    assert format(trimmed(Decimal(amount)), "f") == text


def test_an_amount_is_plain_wherever_it_becomes_text() -> None:
    amount = trimmed(Decimal("5E-7"))
    assert (str(amount), f"{amount}", f"{amount:.8f}", f"{amount!s:>10}") == (
        "0.0000005",
        "0.0000005",
        "0.00000050",
        " 0.0000005",
    )


@given(st.decimals(-(10**15), 10**15, places=12))
def test_plain_text_reads_back_as_the_same_amount(amount: Decimal) -> None:
    text = plain(amount)
    assert Decimal(text) == amount
    assert "E" not in text
    assert text != "-0"
    assert not ("." in text and text.endswith(("0", ".")))


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_amount(amount: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        plain(Decimal(amount))


@pytest.mark.parametrize(("amount", "exponent"), [("1E+3", 0), ("100", 0), ("1.50", -1), ("5E-7", -7)])
def test_an_amount_has_no_exponent_above_zero(amount: str, exponent: int) -> None:
    assert trimmed(Decimal(amount)).as_tuple().exponent == exponent
