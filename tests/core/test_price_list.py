"""Price lists: what a file may say, what is refused and with which words, and which prices it takes the place of."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from groat_server.core.price_book import PriceBook, PriceVersion, Source
from groat_server.core.price_list import PriceList, parse_price_list
from groat_server.core.rates import ActionPrice, Rates
from groat_server.errors import Unprocessable

AT = datetime(2026, 6, 1, tzinfo=UTC)


def version(
    number: int,
    name: str,
    dollars: str,
    *,
    provider: str | None = None,
    source: Source = "override",
    valid_from: datetime | None = None,
) -> PriceVersion:
    """Make a price of a model."""
    return PriceVersion(
        id=number,
        kind="model",
        name=name,
        provider=provider,
        source=source,
        valid_from=valid_from,
        rates=Rates(input=Decimal(dollars)),
    )


def test_a_list_may_be_bare_or_have_factors() -> None:
    prices = '[{"kind": "model", "name": "m", "rates": {"input": 0.5, "output": "1.25"}}]'
    bare = parse_price_list(prices)
    assert [(price.name, price.rates) for price in bare.prices] == [
        ("m", Rates(input=Decimal("0.5"), output=Decimal("1.25")))
    ]
    assert (bare.credits_per_dollar, bare.multiplier) == (None, None)
    assert parse_price_list(f'{{"prices": {prices}}}') == bare
    factors = parse_price_list('{"credits_per_dollar": "7.5", "multiplier": 0}')
    assert factors == PriceList(credits_per_dollar=Decimal("7.5"), multiplier=Decimal(0))


def test_a_price_may_have_everything_that_a_stored_one_has() -> None:
    (model, action) = parse_price_list(
        """[{"kind": "model", "name": "m", "provider": "p", "rates": {"input": [[0, 1], [1000, 2]], "request": 0.1},
             "multiplier": 1.5, "valid_from": "2026-01-01T00:00:00Z", "valid_to": "2026-02-01T00:00:00+01:00",
             "note": "from the contract"},
            {"kind": "action", "name": "upscale", "rates": {"credits_per_unit": 2}, "provider": null}]"""
    ).prices
    assert (model.provider, model.multiplier, model.note) == ("p", Decimal("1.5"), "from the contract")
    assert model.valid_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert model.valid_to == datetime(2026, 1, 31, 23, tzinfo=UTC)
    assert action.rates == ActionPrice(credits_per_unit=Decimal(2))
    assert {model.source, action.source} == {"override"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be JSON"),
        ("7", "must be an object"),
        ("[1]", "Price 1 of the list must be an object"),
        ('{"prices": {}}', "must have a list of prices"),
        ('{"price": []}', "must not have 'price'"),
        ('{"multiplier": -1}', "multiplier must be from 0 to 1000"),
        ('{"multiplier": true}', "multiplier must be a number"),
        ('{"credits_per_dollar": 0}', "credits_per_dollar must not be 0"),
        ('{"credits_per_dollar": 1e7}', "credits_per_dollar must be from 0 to 1000000"),
        ('[{"kind": "model", "kind": "model"}]', "must not have a key twice"),
        ('[{"kind": "plan", "name": "m"}]', "must have the kind"),
        ('[{"kind": "model", "name": "m", "rate": {}}]', "Price 1 of the list must not have 'rate'"),
        ('[{"kind": "model", "name": "m", "rates": []}]', "must have an object of rates"),
        ('[{"kind": "model", "name": "m", "rates": {"input": 3000}}]', "input is outside 0 to 1000"),
        ('[{"kind": "model", "name": "m", "rates": {"cache_read": 1}}]', "cache_read has a rate but input"),
        ('[{"kind": "model", "rates": {"input": 1}}]', "must be a text"),
        ('[{"kind": "model", "name": "m\\u0000", "rates": {"input": 1}}]', "control characters"),
        ('[{"kind": "action", "name": "A B", "rates": {}}]', "a-z"),
        ('[{"kind": "action", "name": "a", "rates": {"input": 1}}]', "an action has no 'input'"),
        ('[{"kind": "action", "name": "a", "provider": "p", "rates": {}}]', "must not have a provider"),
        ('[{"kind": "model", "name": "m", "valid_from": "yesterday"}]', "must be a time"),
        (
            '[{"kind": "model", "name": "m", "valid_from": "2026-01-02T00:00Z", "valid_to": "2026-01-02T00:00Z"}]',
            "must end after it starts",
        ),
        ('[{"kind": "model", "name": "m"}, {"kind": "model", "name": "m", "multiplier": 1001}]', "Price 2 of the list"),
    ],
)
def test_what_a_list_cannot_be_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        parse_price_list(text)
    assert refused.value.problem_code == "bad_price_list"
    assert words in refused.value.detail


def test_a_listed_price_takes_the_place_of_all_of_ours_for_its_model_and_provider() -> None:
    """Also of those with a later start. Taken out: the removal of ours, and the provider in its key."""
    book = PriceBook(
        version=3,
        credits_per_dollar=Decimal(10),
        multiplier=Decimal(1),
        versions=(
            version(1, "m", "1", source="catalogue", provider="p"),
            version(2, "m", "2", valid_from=datetime(2026, 5, 1, tzinfo=UTC)),
            version(3, "m", "3", provider="p"),
            version(4, "other", "4"),
        ),
    )
    changed = parse_price_list('[{"kind": "model", "name": "m", "rates": {"input": 9}}]').applied_to(book)
    assert {
        (name, provider): found.rates
        for name, provider in (("m", None), ("m", "p"), ("other", None))
        if (found := changed.find_model(name, provider, AT).version)
    } == {
        ("m", None): Rates(input=Decimal(9)),
        ("m", "p"): Rates(input=Decimal(3)),
        ("other", None): Rates(input=Decimal(4)),
    }
    assert book.find_model("m", None, AT).version == book.versions[1]
    assert (changed.credits_per_dollar, changed.multiplier) == (Decimal(10), Decimal(1))


def test_of_two_listed_prices_with_the_same_start_the_later_one_counts() -> None:
    book = PriceBook(version=1, credits_per_dollar=Decimal(10), multiplier=Decimal(1))
    twice = (
        '[{"kind": "model", "name": "m", "rates": {"input": 1}}, {"kind": "model", "name": "m", "rates": {"input": 2}}]'
    )
    found = parse_price_list(twice).applied_to(book).find_model("m", None, AT).version
    assert found is not None
    assert found.rates == Rates(input=Decimal(2))


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("7", "The price list must be an object."),
        ('{"prices": {}}', "The price list must have a list of prices."),
        (
            '{"price": []}',
            "The price list must not have 'price'; it may have credits_per_dollar, multiplier, prices.",
        ),
        ("[1]", "Price 1 of the list must be an object."),
        ('[{"kind": "plan", "name": "m"}]', 'Price 1 of the list must have the kind "model" or "action".'),
        ('[{"kind": "model", "name": "m", "rates": []}]', "Price 1 of the list must have an object of rates."),
        (
            '[{"kind": "action", "name": "m", "provider": "p"}]',
            "Price 1 of the list must not have a provider: it is an action's.",
        ),
        (
            """[{"kind": "model", "name": "m", "valid_from": "2026-01-01T00:00:00Z",
                 "valid_to": "2026-01-01T00:00:00Z"}]""",
            "Price 1 of the list must end after it starts.",
        ),
        (
            '[{"kind": "model", "name": "m", "rates": {"inputs": 1}}]',
            "Price 1 of the list cannot be: there is no kind of token 'inputs'.",
        ),
        ('{"multiplier": -1}', "multiplier must be from 0 to 1000."),
        ('{"credits_per_dollar": 0}', "credits_per_dollar must not be 0."),
    ],
)
def test_a_list_that_is_refused_says_so_in_a_sentence(text: str, detail: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        parse_price_list(text)
    assert (refusal.value.problem_code, refusal.value.detail) == ("bad_price_list", detail)


def test_a_note_may_have_lines() -> None:
    (price,) = parse_price_list(r'[{"kind": "model", "name": "m", "note": "two\nlines"}]').prices
    assert price.note == "two\nlines"


def test_a_list_takes_its_own_factors_to_the_book_and_leaves_the_others() -> None:
    book = PriceBook(version=1, credits_per_dollar=Decimal(10), multiplier=Decimal(2))
    for listed, factors in (
        (PriceList(), (10, 2)),
        (PriceList(credits_per_dollar=Decimal(7)), (7, 2)),
        (PriceList(multiplier=Decimal(0)), (10, 0)),
        (PriceList().with_factors(credits_per_dollar=Decimal(8), multiplier=Decimal(3)), (8, 3)),
        (PriceList(multiplier=Decimal(3)).with_factors(credits_per_dollar=None, multiplier=None), (10, 3)),
        (PriceList(credits_per_dollar=Decimal(7)).with_factors(credits_per_dollar=None, multiplier=None), (7, 2)),
    ):
        applied = listed.applied_to(book)
        assert [applied.credits_per_dollar, applied.multiplier] == [Decimal(factor) for factor in factors]


def test_listed_prices_are_newer_than_all_of_the_book_in_their_order() -> None:
    book = PriceBook(version=1, credits_per_dollar=Decimal(10), multiplier=Decimal(1), versions=(version(7, "m", "1"),))
    listed = parse_price_list('[{"kind": "model", "name": "a"}, {"kind": "model", "name": "b"}]')
    assert [(price.id, price.name) for price in listed.applied_to(book).versions] == [(7, "m"), (8, "a"), (9, "b")]
