"""What a price is made of: the parts add up to the cost exactly, and nothing within a hold costs more than the hold."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groat_server import catalogue
from groat_server.core.credits import MAX_TOKENS
from groat_server.core.pricing import Charge, Unpriceable, price
from groat_server.core.rates import ActionPrice, Component, Rates
from tests.core.test_pricing import LAMP, SONNET, T, book_of, charged, of_action, of_catalogue, use

if TYPE_CHECKING:
    from random import Random

    from groat_server.core.price_book import PriceBook
    from groat_server.core.rates import Rate
    from groat_server.core.usage import Usage

TIERED = Rates(
    input=((0, Decimal(1)), (1000, Decimal(2)), (5000, Decimal("0.5"))),
    output=((0, Decimal(4)), (1000, Decimal(8))),
    cache_read=Decimal("0.1"),
    reasoning=((0, Decimal(5)), (2000, Decimal(9))),
    request=Decimal("0.01"),
)

amounts = st.decimals(0, 1000, places=6)
tiers = st.lists(st.tuples(st.integers(1, 10**6), amounts), max_size=3, unique_by=lambda tier: tier[0]).flatmap(
    lambda above: amounts.map(lambda base: ((0, base), *sorted(above)))
)
rate: st.SearchStrategy[Rate] = amounts | tiers


@st.composite
def any_rates(draw: st.DrawFn) -> Rates:
    """Draw rates as `parse_rates` lets them be: a part has a rate only where its whole has one."""
    input_, output = draw(rate | st.none()), draw(rate | st.none())
    of_input = st.none() if input_ is None else rate | st.none()
    return Rates(
        input=input_,
        output=output,
        cache_read=draw(of_input),
        cache_write=draw(of_input),
        reasoning=draw(st.none() if output is None else rate | st.none()),
        request=draw(st.decimals(0, 100, places=6) | st.none()),
    )


@st.composite
def usages(draw: st.DrawFn, tokens_max: int = MAX_TOKENS, output_max: int = MAX_TOKENS) -> Usage:
    """Draw the tokens of a call, parts within their wholes."""
    input_, output = draw(st.integers(0, tokens_max)), draw(st.integers(0, output_max))
    read = draw(st.integers(0, input_))
    write = draw(st.integers(0, input_ - read))
    return use("lamp", input_, output, cached=(read, write), reasoning_tokens=draw(st.integers(0, output)))


def total(parts: list[Component]) -> Decimal:
    return sum((part.cost for part in parts), Decimal(0))


@given(any_rates(), usages())
def test_the_components_add_up_to_the_cost_exactly(rates: Rates, usage: Usage) -> None:
    parts = rates.components(usage)
    assert total(parts) == rates.api_cost(usage)
    assert all(part.tokens != 0 for part in parts)
    of_tokens = [part for part in parts if part.kind != "request"]
    assert all(part.cost == part.tokens * part.rate / 10**6 for part in of_tokens if part.tokens is not None)


@given(usages(10**6), st.randoms(use_true_random=False))
def test_the_components_of_every_model_of_the_catalogue_add_up(usage: Usage, random: Random) -> None:
    versions = [version.rates for version in catalogue.versions() if isinstance(version.rates, Rates)]
    assert len(versions) > 2000
    for rates in random.sample(versions, 40):
        assert total(rates.components(usage)) == rates.api_cost(usage)


def test_every_model_of_the_catalogue_is_explained() -> None:
    usage = use("any", 300_000, 1000, cached=(20_000, 30_000), reasoning_tokens=100)
    for version in catalogue.versions():
        if isinstance(version.rates, Rates):
            assert total(version.rates.components(usage)) == version.rates.api_cost(usage)


def test_a_part_without_a_rate_of_its_own_says_whose_it_has() -> None:
    parts = SONNET.components(use("m", 1000, 500, cached=(100, 50), reasoning_tokens=200))
    assert [(part.kind, part.tokens, part.rate, part.priced_as, part.above) for part in parts] == [
        ("input", 850, Decimal(3), "input", None),
        ("cache_read", 100, Decimal("0.3"), "cache_read", None),
        ("cache_write", 50, Decimal("3.75"), "cache_write", None),
        ("output", 300, Decimal(15), "output", None),
        ("reasoning", 200, Decimal(15), "output", None),
    ]


@pytest.mark.parametrize(
    ("input_tokens", "input_tier", "output_tier"),
    [
        (1, (0, Decimal(1)), (0, Decimal(4))),
        (1000, (0, Decimal(1)), (0, Decimal(4))),
        (1001, (1000, Decimal(2)), (1000, Decimal(8))),
        (5000, (1000, Decimal(2)), (1000, Decimal(8))),
        (5001, (5000, Decimal("0.5")), (1000, Decimal(8))),
    ],
)
def test_the_tier_that_applied_is_named(
    input_tokens: int, input_tier: tuple[int, Decimal], output_tier: tuple[int, Decimal]
) -> None:
    first, second, third = TIERED.components(use("m", input_tokens, 10))
    assert (first.kind, (first.above, first.rate)) == ("input", input_tier)
    assert (second.kind, (second.above, second.rate)) == ("output", output_tier)
    assert (third.kind, third.tokens, third.above, third.cost) == ("request", None, None, Decimal("0.01"))


def test_what_has_neither_tokens_nor_a_rate_is_no_component() -> None:
    assert Rates(input=Decimal(1)).components(use("m", 0, 10)) == []
    assert Rates().components(use("m")) == []


# --- the dearest


@given(any_rates(), st.data(), st.integers(0, 10**7), st.integers(0, 10**7))
def test_no_use_within_a_hold_costs_more_than_the_hold(
    rates: Rates, data: st.DataObject, input_tokens: int, output_tokens: int
) -> None:
    most = rates.dearest(input_tokens).api_cost(use("lamp", input_tokens, output_tokens))
    assert rates.api_cost(data.draw(usages(input_tokens, output_tokens))) <= most


@pytest.mark.parametrize(
    ("rates", "input_tokens", "dearest"),
    [
        (SONNET, 1000, Rates(input=Decimal("3.75"), output=Decimal(15))),
        (LAMP, 0, LAMP),
        (Rates(output=Decimal(2), reasoning=Decimal(3)), 5, Rates(output=Decimal(3))),
        (TIERED, 0, Rates(input=Decimal(1), output=Decimal(5), request=Decimal("0.01"))),
        (TIERED, 1000, Rates(input=Decimal(1), output=Decimal(5), request=Decimal("0.01"))),
        (TIERED, 1001, Rates(input=Decimal(2), output=Decimal(8), request=Decimal("0.01"))),
        (TIERED, 2001, Rates(input=Decimal(2), output=Decimal(9), request=Decimal("0.01"))),
        (TIERED, 9999, Rates(input=Decimal(2), output=Decimal(9), request=Decimal("0.01"))),
        (Rates(), 10, Rates()),
    ],
)
def test_the_dearest_rate_within_reach_is_taken(rates: Rates, input_tokens: int, dearest: Rates) -> None:
    assert rates.dearest(input_tokens) == dearest


def held(usage: Usage, book: PriceBook) -> Charge:
    found = price(usage, book, T, dearest=True)
    assert isinstance(found, Charge), found
    return found


def test_a_hold_is_priced_at_the_dearest_and_a_charge_is_not() -> None:
    book = book_of(of_catalogue(1, SONNET), multiplier="2")
    usage = use("lamp", 1000, 500)
    assert charged(usage, book).credits_charged == Decimal("0.21")
    assert held(usage, book).credits_charged == Decimal("0.225")
    assert held(usage, book).price_id == 1


def test_the_fallback_is_held_at_its_dearest_too() -> None:
    fallback = replace(LAMP, cache_write=Decimal(7))
    book = book_of(unknown_model="fallback", fallback_rates=fallback)
    assert charged(use("nonsense", 1000, 0), book).api_cost == Decimal("0.001")
    assert held(use("nonsense", 1000, 0), book).api_cost == Decimal("0.007")


def test_what_has_a_flat_price_or_none_is_held_as_it_is_charged() -> None:
    flat = of_action(7, ActionPrice(credits_per_unit=Decimal(2)))
    assert held(use(None, quantity=Decimal(3)), book_of(flat)).credits_charged == 6
    refusal = price(use("nonsense"), book_of(of_catalogue(1)), T, dearest=True)
    assert isinstance(refusal, Unpriceable)
    assert refusal.code == "unknown_model"
