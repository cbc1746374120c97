"""Rates as somebody states them, to the bounds themselves, and as they add up to what one call costs."""

from __future__ import annotations

from decimal import Decimal

import pytest

from groat_server.core.rates import ActionPrice, Component, Rates, parse_action_price, parse_rates
from groat_server.core.usage import Usage
from groat_server.errors import Unprocessable


def test_every_kind_is_taken_as_it_is_stated() -> None:
    tiers = [[0, 1], ["1000000000", "2.50"]]
    found = parse_rates(
        {"input": 1, "output": "2", "cache_read": Decimal(3), "cache_write": tiers, "reasoning": 0, "request": "6.0"}
    )
    assert found == Rates(
        input=Decimal(1),
        output=Decimal(2),
        cache_read=Decimal(3),
        cache_write=((0, Decimal(1)), (10**9, Decimal("2.5"))),
        reasoning=Decimal(0),
        request=Decimal(6),
    )


def test_the_bounds_themselves_are_taken() -> None:
    assert parse_rates({"input": 1000, "request": 100}) == Rates(input=Decimal(1000), request=Decimal(100))
    assert parse_rates({"input": "0.000001"}) == Rates(input=Decimal("0.000001"))
    assert parse_action_price({"credits_per_use": 10**12}) == ActionPrice(credits_per_use=Decimal(10**12))
    finest = Decimal("0.000000000001")
    assert parse_action_price({"credits_per_unit": str(finest)}) == ActionPrice(credits_per_unit=finest)


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"inputs": 3, "outputs": 1}, "there is no kind of token 'inputs'"),
        ({"cache_read": 1}, "cache_read has a rate but input, of which it is a part, has none"),
        ({"cache_write": 1}, "cache_write has a rate but input, of which it is a part, has none"),
        ({"reasoning": 1, "input": 1}, "reasoning has a rate but output, of which it is a part, has none"),
        ({"input": 1.5}, "input is no number"),
        ({"input": True}, "input is no number"),
        ({"input": None}, "input is no number"),
        ({"request": [[0, 1]]}, "request is no number"),
        ({"input": "nonsense"}, "input is no number of at most 6 decimals"),
        ({"input": "0.0000001"}, "input is no number of at most 6 decimals"),
        ({"request": "0.0000001"}, "request is no number of at most 6 decimals"),
        ({"input": -1}, "input is outside 0 to 1000"),
        ({"input": "1000.000001"}, "input is outside 0 to 1000"),
        ({"input": "NaN"}, "input is outside 0 to 1000"),
        ({"request": "100.000001"}, "request is outside 0 to 100"),
        ({"request": 1001}, "request is outside 0 to 100"),
        ({"input": []}, "the tiers of input begin at 0 tokens and rise"),
        ({"input": [[1, 1]]}, "the tiers of input begin at 0 tokens and rise"),
        ({"input": [[0, 1], [0, 2]]}, "the tiers of input begin at 0 tokens and rise"),
        ({"input": [0, 1]}, "a tier of input is [tokens, rate]"),
        ({"input": [[0, 1, 2]]}, "a tier of input is [tokens, rate]"),
        ({"input": [[0, 1], [Decimal("5.5"), 2]]}, "a tier of input is no number of at most 0 decimals"),
        ({"input": [[0, 1], [10**9 + 1, 2]]}, "a tier of input is outside 0 to 1000000000"),
        ({"input": [[0, 1], [5, 1001]]}, "input is outside 0 to 1000"),
    ],
)
def test_rates_that_cannot_be_are_refused_with_the_reason(document: dict[str, object], detail: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        parse_rates(document)
    assert (refusal.value.problem_code, refusal.value.detail) == ("invalid_rates", detail)


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"credits": 1}, "an action has no 'credits'"),
        ({"credits_per_use": 1, "credits_per_unit": 1}, "an action costs either credits_per_use or credits_per_unit"),
        ({"credits_per_use": 1.5}, "credits_per_use is no number"),
        ({"credits_per_unit": "0.0000000000001"}, "credits_per_unit is no number of at most 12 decimals"),
        ({"credits_per_use": 10**12 + 1}, "credits_per_use is outside 0 to 1000000000000"),
    ],
)
def test_an_actions_price_that_cannot_be_is_refused_with_the_reason(document: dict[str, object], detail: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        parse_action_price(document)
    assert (refusal.value.problem_code, refusal.value.detail) == ("invalid_rates", detail)


CALL = Usage(
    user_id=1,
    idempotency_key="key",
    action_type="chat",
    input_tokens=1000,
    cache_read_tokens=300,
    cache_write_tokens=100,
    output_tokens=50,
    reasoning_tokens=20,
)


def test_each_part_of_a_call_says_whose_rate_it_has() -> None:
    tiers = ((0, Decimal(1)), (500, Decimal(2)))
    assert Rates(input=tiers, output=Decimal(4), request=Decimal("0.5")).components(CALL) == [
        Component("input", 600, Decimal(2), 500, "input"),
        Component("cache_read", 300, Decimal(2), 500, "input"),
        Component("cache_write", 100, Decimal(2), 500, "input"),
        Component("output", 30, Decimal(4), None, "output"),
        Component("reasoning", 20, Decimal(4), None, "output"),
        Component("request", None, Decimal("0.5"), None, "request"),
    ]
    own = Rates(
        input=Decimal(1), output=Decimal(4), cache_read=Decimal(0), cache_write=Decimal(3), reasoning=Decimal(5)
    )
    assert [(part.kind, part.priced_as) for part in own.components(CALL)] == [
        ("input", "input"), ("cache_read", "cache_read"), ("cache_write", "cache_write"), ("output", "output"),
        ("reasoning", "reasoning"),
    ]  # fmt: skip
    assert sum((part.cost for part in own.components(CALL)), Decimal(0)) == own.api_cost(CALL)


@pytest.mark.parametrize(("input_tokens", "dearest"), [(0, 1), (1, 1), (2, 5), (3, 5)])
def test_a_tier_is_within_reach_once_its_threshold_can_be_exceeded(input_tokens: int, dearest: int) -> None:
    rates = Rates(input=((0, Decimal(1)), (1, Decimal(5))), output=Decimal(1))
    assert rates.dearest(input_tokens).input == dearest
