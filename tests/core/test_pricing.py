"""What a use costs: precedence, versions in time, policies, and the window in which an answer holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from time import tzset
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groat_server.core.price_changes import price_changes
from groat_server.core.pricing import (
    ActionPrice,
    Charge,
    PriceBook,
    PriceVersion,
    Rates,
    UnknownModelPolicy,
    Unpriceable,
    price,
)
from groat_server.core.rates import parse_action_price, parse_rates, rates_json
from groat_server.core.usage import Usage
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Callable

T = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SONNET = Rates(input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75"))
LAMP = Rates(input=Decimal(1), output=Decimal(2))
DEARER = Rates(input=Decimal(2), output=Decimal(4))


def use(
    model: str | None = "lamp",
    input_tokens: int = 1000,
    output_tokens: int = 500,
    *,
    action_type: str = "chat",
    provider: str | None = None,
    cached: tuple[int, int] = (0, 0),
    reasoning_tokens: int = 0,
    quantity: Decimal | None = None,
    api_cost: Decimal | None = None,
) -> Usage:
    return Usage(
        user_id=1,
        idempotency_key="key",
        action_type=action_type,
        model=model,
        provider=provider,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cached[0],
        cache_write_tokens=cached[1],
        reasoning_tokens=reasoning_tokens,
        quantity=quantity,
        api_cost=api_cost,
    )


def of_catalogue(
    number: int,
    rates: Rates = LAMP,
    *,
    name: str = "lamp",
    provider: str = "acme",
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    hours: tuple[time, time] | None = None,
) -> PriceVersion:
    daily_from, daily_to = hours or (None, None)
    return PriceVersion(
        id=number,
        kind="model",
        name=name,
        provider=provider,
        source="catalogue",
        valid_from=valid_from,
        valid_to=valid_to,
        daily_from=daily_from,
        daily_to=daily_to,
        rates=rates,
    )


def of_ours(
    number: int,
    rates: Rates,
    *,
    name: str = "lamp",
    provider: str | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    multiplier: str | None = None,
) -> PriceVersion:
    return PriceVersion(
        id=number,
        kind="model",
        name=name,
        provider=provider,
        source="override",
        valid_from=valid_from,
        valid_to=valid_to,
        rates=rates,
        multiplier=None if multiplier is None else Decimal(multiplier),
    )


def of_action(
    number: int,
    rates: ActionPrice,
    *,
    name: str = "chat",
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    multiplier: str | None = None,
) -> PriceVersion:
    return PriceVersion(
        id=number,
        kind="action",
        name=name,
        source="override",
        valid_from=valid_from,
        valid_to=valid_to,
        rates=rates,
        multiplier=None if multiplier is None else Decimal(multiplier),
    )


def aliases(model: str, provider: str | None) -> tuple[str, str] | None:
    """Recognise the names of one model, `lamp` of `acme`, as a library of prices would."""
    return ("acme", "lamp") if model.startswith("lamp") and provider in (None, "acme", "reseller") else None


def book_of(
    *versions: PriceVersion,
    unknown_model: UnknownModelPolicy = "reject",
    fallback_rates: Rates | None = None,
    multiplier: str = "1",
    identify: Callable[[str, str | None], tuple[str, str] | None] = aliases,
) -> PriceBook:
    return PriceBook(
        version=1,
        credits_per_dollar=Decimal(10),
        multiplier=Decimal(multiplier),
        unknown_model=unknown_model,
        fallback_rates=fallback_rates,
        versions=versions,
        identify=identify,
    )


def charged(usage: Usage, book: PriceBook, at: datetime = T) -> Charge:
    found = price(usage, book, at)
    assert isinstance(found, Charge), found
    return found


def refused(usage: Usage, book: PriceBook, at: datetime = T) -> str:
    found = price(usage, book, at)
    assert isinstance(found, Unpriceable), found
    return found.code


def test_a_thousand_in_and_five_hundred_out_of_claude_3_5_sonnet() -> None:
    charge = charged(use(), book_of(of_catalogue(1, SONNET)))
    assert str(charge.api_cost) == "0.0105"
    assert str(charge.credits_charged) == "0.105"
    assert (charge.cost_source, charge.price_id) == ("model", 1)


def test_cached_tokens_are_parts_of_the_input() -> None:
    charge = charged(use(input_tokens=10_000, cached=(8_000, 1_000)), book_of(of_catalogue(1, SONNET)))
    assert str(charge.api_cost) == "0.01665"


def test_a_part_without_a_rate_costs_what_its_whole_costs() -> None:
    book = book_of(of_catalogue(1))
    parts = charged(use(cached=(800, 100), reasoning_tokens=400), book)
    assert parts.api_cost == charged(use(), book).api_cost


def test_reasoning_tokens_may_have_a_rate_of_their_own() -> None:
    rates = Rates(input=Decimal(1), output=Decimal(2), reasoning=Decimal(5))
    charge = charged(use(reasoning_tokens=200), book_of(of_catalogue(1, rates)))
    assert charge.api_cost == Decimal("0.0026")


def test_a_rate_of_zero_is_a_rate() -> None:
    rates = Rates(input=Decimal(1), cache_read=Decimal(0))
    charge = charged(use(cached=(1000, 0)), book_of(of_catalogue(1, rates)))
    assert (charge.api_cost, charge.credits_charged, charge.cost_source) == (Decimal(0), Decimal(0), "model")


def test_a_request_may_cost_something_beside_its_tokens() -> None:
    rates = Rates(input=Decimal(1), output=Decimal(2), request=Decimal("0.012"))
    assert charged(use(), book_of(of_catalogue(1, rates))).api_cost == Decimal("0.014")


@pytest.mark.parametrize(("size", "dollars"), [(200_000, "0.2"), (200_001, "0.400002"), (500_001, "1.500003")])
def test_a_tier_prices_the_whole_call_once_its_threshold_is_exceeded(size: int, dollars: str) -> None:
    rates = Rates(input=((0, Decimal(1)), (200_000, Decimal(2)), (500_000, Decimal(3))))
    charge = charged(use(input_tokens=size, output_tokens=0), book_of(of_catalogue(1, rates)))
    assert str(charge.api_cost) == dollars


def test_the_tier_of_every_kind_goes_by_the_input_tokens_with_the_cached_ones() -> None:
    tiers = ((0, Decimal(1)), (1000, Decimal(10)))
    rates = Rates(input=Decimal(0), output=tiers, cache_read=tiers)
    book = book_of(of_catalogue(1, rates))
    assert charged(use(input_tokens=1001, output_tokens=1, cached=(1001, 0)), book).api_cost == Decimal("0.01002")


@pytest.mark.parametrize("usage", [use(cached=(600, 401)), use(reasoning_tokens=501)])
def test_parts_that_exceed_their_whole_have_no_price(usage: Usage) -> None:
    assert refused(usage, book_of(of_catalogue(1))) == "inconsistent_tokens"


def test_a_cost_beyond_a_million_dollars_has_no_price() -> None:
    dear = Rates(input=Decimal(1000), output=Decimal("0.001"))
    book = book_of(of_catalogue(1, dear))
    assert charged(use(input_tokens=10**9, output_tokens=0), book).api_cost == Decimal(10) ** 6
    assert refused(use(input_tokens=10**9, output_tokens=1), book) == "cost_out_of_bounds"
    assert refused(use(api_cost=Decimal("1000000.01")), book) == "cost_out_of_bounds"


def test_an_action_with_a_flat_price_costs_that_whatever_the_model() -> None:
    action = of_action(7, ActionPrice(credits_per_use=Decimal(2)), multiplier="3")
    charge = charged(use(), book_of(of_catalogue(1), action, multiplier="5"))
    assert (charge.credits_charged, charge.multiplier, charge.api_cost) == (Decimal(2), Decimal(1), None)
    assert (charge.cost_source, charge.price_id) == ("action", 7)


def test_a_flat_price_keeps_the_cost_that_the_caller_gives() -> None:
    book = book_of(of_action(7, ActionPrice(credits_per_use=Decimal(2))))
    charge = charged(use(api_cost=Decimal("0.040")), book)
    assert (charge.credits_charged, str(charge.api_cost)) == (Decimal(2), "0.04")


@pytest.mark.parametrize(("quantity", "owed"), [(None, "0.5"), ("3", "1.5"), ("0", "0"), ("1E-12", "0.000000000001")])
def test_an_action_may_be_priced_per_unit(quantity: str | None, owed: str) -> None:
    book = book_of(of_action(7, ActionPrice(credits_per_unit=Decimal("0.5"))))
    units = None if quantity is None else Decimal(quantity)
    assert charged(use(None, 0, 0, quantity=units), book).credits_charged == Decimal(owed)


def test_more_units_than_an_event_can_hold_have_no_price() -> None:
    book = book_of(of_action(7, ActionPrice(credits_per_unit=Decimal(10) ** 12)))
    assert refused(use(None, quantity=Decimal(2)), book) == "cost_out_of_bounds"


def test_as_many_units_as_an_event_can_hold_have_a_price() -> None:
    book = book_of(of_action(7, ActionPrice(credits_per_unit=Decimal(10) ** 12)))
    assert charged(use(None, quantity=Decimal(1)), book).credits_charged == Decimal(10) ** 12


def test_an_action_whose_price_is_empty_costs_nothing_by_itself() -> None:
    assert ActionPrice().credits(Decimal(5)) == 0


def test_the_callers_cost_replaces_the_catalogues() -> None:
    charge = charged(use(api_cost=Decimal("0.02")), book_of(of_catalogue(1), multiplier="1.5"))
    assert (charge.api_cost, charge.credits_charged) == (Decimal("0.02"), Decimal("0.3"))
    assert (charge.cost_source, charge.price_id) == ("caller", None)


def test_the_callers_cost_needs_no_model_that_anybody_knows() -> None:
    assert charged(use("nonsense", api_cost=Decimal(0)), book_of()).credits_charged == 0


@pytest.mark.parametrize(
    ("action", "model", "expected"),
    [("7", "5", "7"), (None, "5", "5"), (None, None, "2"), ("0", "5", "0"), (None, "0", "0")],
)
def test_the_actions_multiplier_comes_before_the_models_before_the_books(
    action: str | None, model: str | None, expected: str
) -> None:
    book = book_of(of_ours(1, LAMP, multiplier=model), of_action(2, ActionPrice(), multiplier=action), multiplier="2")
    charge = charged(use(), book)
    assert charge.multiplier == Decimal(expected)
    assert charge.credits_charged == Decimal("0.02") * Decimal(expected)
    assert charge.price_id == 1


def test_our_price_beats_the_catalogues() -> None:
    assert charged(use(), book_of(of_catalogue(9), of_ours(1, DEARER))).price_id == 1


def test_our_price_of_the_very_provider_beats_that_of_any() -> None:
    book = book_of(of_ours(1, LAMP, provider="acme"), of_ours(2, LAMP))
    assert charged(use(provider="acme"), book).price_id == 1
    assert charged(use(provider="other"), book).price_id == 2


def test_an_alias_has_the_price_of_the_model_it_stands_for() -> None:
    assert charged(use("lamp-2026-01-01"), book_of(of_catalogue(1))).price_id == 1
    assert charged(use("lamp-2026-01-01"), book_of(of_catalogue(1), of_ours(2, DEARER))).price_id == 2
    assert charged(use("lamp-latest"), book_of(of_catalogue(1), of_ours(2, DEARER, provider="acme"))).price_id == 2


def test_our_price_of_an_alias_beats_that_of_the_model() -> None:
    book = book_of(of_catalogue(1), of_ours(2, LAMP), of_ours(3, DEARER, name="lamp-latest"))
    assert charged(use("lamp-latest"), book).price_id == 3
    assert charged(use("lamp-other"), book).price_id == 2


def test_a_name_that_only_one_provider_has_needs_no_provider() -> None:
    book = book_of(of_catalogue(1, name="torch"), identify=lambda *_: None)
    assert charged(use("torch"), book).price_id == 1
    assert charged(use("torch", provider="acme"), book).price_id == 1
    assert refused(use("torch", provider="other"), book) == "unknown_model"


def test_a_name_that_several_providers_have_needs_the_provider_where_they_disagree() -> None:
    same = of_catalogue(1, name="torch"), of_catalogue(2, name="torch", provider="other")
    book = book_of(*same, identify=lambda *_: None)
    assert charged(use("torch"), book).price_id == 1
    dearer = of_catalogue(3, DEARER, name="torch", provider="other", valid_from=T)
    book = book_of(*same, dearer, identify=lambda *_: None)
    assert charged(use("torch"), book, T - TICK).valid_until == T
    assert refused(use("torch"), book, T) == "unknown_model"
    assert charged(use("torch", provider="other"), book, T).price_id == 3


def test_providers_who_agree_do_so_while_each_of_them_does() -> None:
    first, last = T - timedelta(days=2), T + timedelta(days=2)
    book = book_of(
        of_catalogue(1, name="torch", provider="acme", valid_from=T - timedelta(days=1), valid_to=last),
        of_catalogue(2, name="torch", provider="bolt", valid_from=first, valid_to=T + timedelta(days=1)),
        of_catalogue(3, name="torch", provider="cask", valid_from=first, valid_to=last),
    )
    charge = charged(use("torch"), book)
    assert (charge.valid_from, charge.valid_until) == (T - timedelta(days=1), T + timedelta(days=1))


def test_a_listing_may_be_of_no_provider() -> None:
    anybodys = replace(of_catalogue(1, name="torch"), provider=None)
    assert charged(use("torch"), book_of(anybodys, of_catalogue(2, name="torch"))).api_cost == Decimal("0.002")


def test_the_window_is_that_of_every_price_that_was_asked() -> None:
    ours = of_ours(2, Rates(), valid_from=T - timedelta(days=1), valid_to=T + timedelta(days=1), multiplier="2")
    charge = charged(use(), book_of(of_catalogue(1, valid_from=T - timedelta(days=2)), ours))
    assert (charge.valid_from, charge.valid_until) == (T - timedelta(days=1), T + timedelta(days=1))


def test_our_multiplier_applies_to_what_the_providers_agree_on() -> None:
    book = book_of(of_catalogue(1, name="torch"), of_ours(2, Rates(), name="torch", multiplier="2"))
    assert (charged(use("torch"), book).price_id, charged(use("torch"), book).multiplier) == (1, Decimal(2))


def test_our_multiplier_applies_to_the_fallback_rates_from_its_start() -> None:
    end = T + timedelta(days=1)
    ours = of_ours(2, Rates(), name="torch", valid_from=T, valid_to=end, multiplier="3")
    book = book_of(ours, unknown_model="fallback", fallback_rates=LAMP)
    charge = charged(use("torch", provider="nobody"), book)
    assert (charge.cost_source, charge.multiplier) == ("fallback", Decimal(3))
    assert (charge.valid_from, charge.valid_until) == (T, end)


def test_the_window_is_where_both_the_action_and_the_model_say_the_same() -> None:
    first, last = T - timedelta(days=2), T + timedelta(days=2)
    action = of_action(1, ActionPrice(), valid_from=first, valid_to=last, multiplier="2")
    model = of_catalogue(2, valid_from=T - timedelta(days=1), valid_to=T + timedelta(days=1))
    charge = charged(use(), book_of(action, model))
    assert (charge.valid_from, charge.valid_until) == (T - timedelta(days=1), T + timedelta(days=1))


def test_as_many_credits_as_an_event_can_hold_are_charged_and_no_more() -> None:
    usage = use(api_cost=Decimal(10) ** 6)
    charge = charged(usage, book_of(multiplier="100000"))
    assert (charge.credits_charged, charge.credits_per_dollar) == (Decimal(10) ** 12, Decimal(10))
    assert refused(usage, book_of(multiplier="100000.1")) == "cost_out_of_bounds"


def test_a_cost_of_the_callers_own_pins_no_price() -> None:
    action = of_action(7, ActionPrice(), multiplier="2")
    charge = charged(use(api_cost=Decimal(1)), book_of(action))
    assert (charge.cost_source, charge.multiplier, charge.price_id) == ("caller", Decimal(2), None)


@pytest.mark.parametrize("provider", ["reseller", None])
def test_our_price_of_the_model_beats_the_catalogues_for_its_alias(provider: str | None) -> None:
    book = book_of(of_catalogue(1), of_ours(2, DEARER, provider=provider))
    assert charged(use("lamp-2026", provider="reseller"), book).price_id == 2


def test_a_model_is_recognised_for_the_provider_that_was_named() -> None:
    assert refused(use("lamp-2026", provider="other"), book_of(of_catalogue(1))) == "unknown_model"


def test_a_book_remembers_the_price_of_each_action_as_its_own() -> None:
    book = book_of(
        of_action(1, ActionPrice(credits_per_use=Decimal(1)), name="one"),
        of_action(2, ActionPrice(credits_per_use=Decimal(2)), name="two"),
    )
    for _ in range(2):
        assert [charged(use(None, action_type=name), book).price_id for name in ("one", "two")] == [1, 2]


def test_hours_are_exact_to_the_microsecond() -> None:
    start, end = time(1, 2, 3, 4), time(5, 6, 7, 8)
    book = book_of(of_catalogue(1), of_catalogue(2, DEARER, hours=(start, end)))
    for hour, number in ((start, 2), (end, 1)):
        at = datetime.combine(T, hour, UTC)
        assert [charged(use(), book, instant).price_id for instant in (at - TICK, at)] == [3 - number, number]
    charge = charged(use(), book, datetime.combine(T, time(3), UTC))
    assert charge.valid_from == datetime.combine(T, start, UTC)
    assert charge.valid_until == datetime.combine(T, end, UTC)


def test_hours_are_utc_wherever_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    book = book_of(of_catalogue(1), of_catalogue(2, DEARER, hours=(time(11), time(13))))
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        tzset()
        charge = charged(use(), book)
    tzset()
    assert (charge.price_id, charge.valid_from, charge.valid_until) == (
        2, T - timedelta(hours=1), T + timedelta(hours=1),
    )  # fmt: skip


def test_what_a_use_can_cost_at_most_is_by_the_tiers_within_its_reach() -> None:
    tiered = Rates(input=((0, Decimal(1)), (1000, Decimal(2))), output=Decimal(2))
    found = price(use(input_tokens=1001, output_tokens=0), book_of(of_catalogue(1, tiered)), T, dearest=True)
    assert isinstance(found, Charge)
    assert found.api_cost == Decimal("0.002002")


def test_the_order_of_actions_and_models_in_a_book_does_not_matter() -> None:
    book = book_of(of_action(1, ActionPrice(credits_per_use=Decimal(2)), name="other"), of_catalogue(2))
    assert charged(use(), book).price_id == 2


def test_our_price_without_rates_leaves_them_to_the_catalogue_from_then_on() -> None:
    book = book_of(of_catalogue(1), of_ours(2, DEARER), of_ours(3, Rates(), valid_from=T))
    assert charged(use(), book, T - TICK).price_id == 2
    assert charged(use(), book, T).price_id == 1


def test_a_multiplier_without_rates_applies_to_the_catalogues() -> None:
    charge = charged(use(), book_of(of_catalogue(1), of_ours(2, Rates(), multiplier="4")))
    assert (charge.price_id, charge.multiplier, charge.credits_charged) == (1, Decimal(4), Decimal("0.08"))


@pytest.mark.parametrize(("model", "code"), [("nonsense", "unknown_model"), (None, "unpriced_action")])
def test_what_nobody_knows_is_refused(model: str | None, code: str) -> None:
    assert refused(use(model), book_of()) == code


@pytest.mark.parametrize("model", ["nonsense", None])
def test_it_may_have_the_fallback_rates(model: str | None) -> None:
    book = book_of(unknown_model="fallback", fallback_rates=LAMP, multiplier="2")
    charge = charged(use(model), book)
    assert (charge.cost_source, charge.price_id, charge.api_cost) == ("fallback", None, Decimal("0.002"))
    assert charge.credits_charged == Decimal("0.04")


@pytest.mark.parametrize("tokens", [(1, 0), (0, 1)])
def test_one_token_is_enough_for_the_fallback_rates(tokens: tuple[int, int]) -> None:
    book = book_of(unknown_model="fallback", fallback_rates=LAMP)
    assert charged(use("nonsense", *tokens), book).cost_source == "fallback"


@pytest.mark.parametrize(("model", "code"), [("nonsense", "unknown_model"), (None, "unpriced_action")])
def test_fallback_rates_need_tokens(model: str | None, code: str) -> None:
    book = book_of(unknown_model="fallback", fallback_rates=LAMP)
    assert refused(use(model, 0, 0), book) == code


@pytest.mark.parametrize("model", ["nonsense", None])
def test_it_may_be_recorded_at_nothing_and_say_so(model: str | None) -> None:
    charge = charged(use(model), book_of(unknown_model="unpriced"))
    assert (charge.cost_source, charge.price_id) == ("unpriced", None)
    assert (charge.credits_charged, charge.api_cost) == (Decimal(0), None)


@pytest.mark.parametrize(
    ("usage", "detail"),
    [
        (use("nonsense"), "the model 'nonsense' has no price"),
        (use("nonsense", provider="acme"), "the model 'nonsense' at the provider 'acme' has no price"),
        (use(None), "the action 'chat' has no price and names no model"),
        (use(cached=(600, 401)), "the cached tokens exceed the input tokens, of which they are parts"),
        (use(reasoning_tokens=501), "the reasoning tokens exceed the output tokens, of which they are parts"),
        (use(api_cost=Decimal(1_000_001)), "an API cost of 1000001 USD is more than an event can hold"),
        (use(api_cost=Decimal(1_000_000)), "1000000000001 credits are more than an event can hold"),
        (use(action_type="bulk", quantity=Decimal(2)), "2000000000000 credits are more than an event can hold"),
    ],
)
def test_a_use_without_a_price_says_why(usage: Usage, detail: str) -> None:
    bulk = of_action(9, ActionPrice(credits_per_unit=Decimal(10) ** 12), name="bulk")
    book = book_of(of_catalogue(1), bulk, multiplier="100000.0000001")
    refusal = price(usage, book, T)
    assert isinstance(refusal, Unpriceable)
    assert refusal.detail == detail


def test_a_price_begins_at_its_very_instant() -> None:
    book = book_of(of_catalogue(1), of_catalogue(2, DEARER, valid_from=T))
    before, after = charged(use(), book, T - TICK), charged(use(), book, T)
    assert (before.price_id, before.valid_from, before.valid_until) == (1, None, T)
    assert (after.price_id, after.valid_from, after.valid_until) == (2, T, None)


def test_a_price_ends_before_its_very_instant() -> None:
    book = book_of(of_catalogue(1), of_ours(2, DEARER, valid_from=T, valid_to=T + timedelta(hours=1)))
    assert charged(use(), book, T + timedelta(hours=1) - TICK).price_id == 2
    assert charged(use(), book, T + timedelta(hours=1)).price_id == 1


def test_the_zone_of_the_instant_does_not_matter() -> None:
    book = book_of(of_catalogue(1), of_catalogue(2, DEARER, hours=(time(1), time(4))))
    tokyo = timezone(timedelta(hours=9))
    assert charged(use(), book, datetime(2026, 3, 1, 11, tzinfo=tokyo)).price_id == 2
    assert charged(use(), book, datetime(2026, 3, 1, 2, tzinfo=tokyo)).price_id == 1


@pytest.mark.parametrize(
    ("hours", "inside"),
    [
        ((time(1), time(4)), {time(1), time(3, 59)}),
        ((time(23), time(1)), {time(23), time(23, 59), time(0), time(0, 59)}),
        ((time(5), time(5)), set()),
    ],
)
def test_hours_include_their_start_and_may_pass_midnight(hours: tuple[time, time], inside: set[time]) -> None:
    book = book_of(of_catalogue(1), of_catalogue(2, DEARER, hours=hours))
    for hour in {
        time(0),
        time(0, 59),
        time(1),
        time(3, 59),
        time(4),
        time(5),
        time(22, 59),
        time(23),
        time(23, 59),
    }:
        expected = 2 if hour in inside else 1
        assert charged(use(), book, datetime.combine(T, hour, UTC)).price_id == expected


def test_the_window_of_a_price_with_hours_is_those_hours() -> None:
    book = book_of(of_catalogue(1), of_catalogue(2, DEARER, hours=(time(23), time(1))))
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    charge = charged(use(), book, midnight)
    assert (charge.valid_from, charge.valid_until) == (midnight - timedelta(hours=1), midnight + timedelta(hours=1))
    charge = charged(use(), book, T)
    assert (charge.valid_from, charge.valid_until) == (
        midnight - timedelta(hours=23),
        midnight - timedelta(hours=1),
    )


def test_a_row_of_the_same_start_replaces_the_older_one_also_in_its_end() -> None:
    book = book_of(of_catalogue(1), of_ours(2, DEARER), of_ours(3, DEARER, valid_to=T))
    assert charged(use(), book, T - TICK).price_id == 3
    assert charged(use(), book, T).price_id == 1


def test_the_later_start_wins_whichever_row_came_first() -> None:
    book = book_of(of_ours(2, DEARER, valid_from=T), of_ours(3, LAMP, valid_from=T - timedelta(days=1)))
    assert charged(use(), book, T).price_id == 2


def test_the_window_ends_where_an_actions_price_or_multiplier_does() -> None:
    book = book_of(of_catalogue(1), of_action(2, ActionPrice(), valid_from=T, multiplier="2"))
    assert charged(use(), book, T - TICK).valid_until == T
    assert charged(use(), book, T).valid_from == T
    assert charged(use(api_cost=Decimal(1)), book, T - TICK).valid_until == T


def test_an_unpriced_use_has_a_window_as_well() -> None:
    book = book_of(of_catalogue(1, valid_from=T), unknown_model="unpriced")
    assert charged(use(), book, T - TICK).valid_until == T


def test_the_first_and_the_last_instant_of_all_have_a_price() -> None:
    book = book_of(of_catalogue(1), of_catalogue(2, hours=(time(1), time(4))), of_ours(3, Rates(), valid_from=FIRST))
    for at in (FIRST, LAST):
        assert charged(use(), book, at).price_id == 1


def test_a_book_forgets_rather_than_grow_without_end() -> None:
    book = book_of(of_catalogue(1), unknown_model="unpriced")
    for number in range(5000):
        charged(use(f"unheard-of-{number}"), book)
    assert charged(use(), book).price_id == 1


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

quarters = st.integers(0, 96 * 4).map(lambda number: T - timedelta(days=2) + number * timedelta(minutes=15))
hours_of_day = st.integers(0, 7).map(lambda number: time(number * 3))
spans_of_day = st.lists(hours_of_day, min_size=2, max_size=2, unique=True).map(lambda hours: (hours[0], hours[1]))


@st.composite
def any_versions(draw: st.DrawFn) -> list[PriceVersion]:
    """Draw versions of one model, from both sources, with starts, ends and hours that overlap."""
    versions = []
    for number in range(1, draw(st.integers(1, 7)) + 1):
        start = draw(st.none() | quarters)
        end = draw(st.none() | quarters)
        rates = draw(st.sampled_from([LAMP, DEARER, SONNET]))
        if draw(st.booleans()):
            valid_to = None if end is None or (start is not None and end <= start) else end
            hours = draw(st.none() | spans_of_day)
            versions.append(of_catalogue(number, rates, valid_from=start, valid_to=valid_to, hours=hours))
        else:
            versions.append(of_ours(number, draw(st.sampled_from([rates, Rates()])), valid_from=start))
    return versions


def by_the_rule(versions: list[PriceVersion], at: datetime) -> int | None:
    """Choose as the rule says it, word for word and slowly."""
    for source in ("override", "catalogue"):
        rows = [version for version in versions if version.source == source]
        rows = [
            row
            for row in rows
            if not any(
                other.id > row.id
                and (other.valid_from, other.daily_from, other.daily_to)
                == (row.valid_from, row.daily_from, row.daily_to)
                for other in rows
            )
        ]
        rows = [row for row in rows if row.holds(at)]
        rows.sort(key=lambda row: (row.daily_from is not None, row.valid_from or FIRST, row.id))
        if rows and not rows[-1].rates.is_empty:
            return rows[-1].id
    return None


@given(any_versions(), quarters, st.lists(quarters, min_size=3, max_size=20))
def test_an_answer_holds_in_its_window_and_not_beside_it(
    versions: list[PriceVersion], at: datetime, others: list[datetime]
) -> None:
    book = book_of(*versions, unknown_model="unpriced")
    charge = charged(use(), book, at)
    assert charge.price_id == by_the_rule(versions, at)
    since, until = charge.valid_from or FIRST, charge.valid_until or LAST
    assert since <= at < until
    for other in [*others, since, until - TICK]:
        found = charged(use(), book, other)
        assert found.price_id == by_the_rule(versions, other)
        if since <= other < until:
            assert found.price_id == charge.price_id


@given(any_versions(), quarters)
def test_a_window_ends_where_the_price_does(versions: list[PriceVersion], at: datetime) -> None:
    rated = [version for version in versions if not version.rates.is_empty]
    book = book_of(*rated, unknown_model="unpriced")
    charge = charged(use(), book, at)
    if charge.valid_from is not None:
        assert by_the_rule(rated, charge.valid_from - TICK) != charge.price_id
    if charge.valid_until is not None:
        assert by_the_rule(rated, charge.valid_until) != charge.price_id


@pytest.mark.parametrize(
    "document",
    [
        {"input": 3, "output": 15, "cache_read": Decimal("0.3"), "cache_write": Decimal("3.75")},
        {"input": [[0, Decimal("1.25")], [200_000, Decimal("2.5")]], "output": 10},
        {"input": 1, "output": 5, "reasoning": 3, "request": Decimal("0.012")},
        {},
    ],
)
def test_rates_read_back_from_their_json(document: dict[str, object]) -> None:
    rates = parse_rates(document)
    text = rates_json(rates)
    assert "E" not in text
    assert parse_rates(json_of(text)) == rates


def test_an_actions_price_reads_back_from_its_json() -> None:
    for document in ({"credits_per_use": 2}, {"credits_per_unit": Decimal("0.5")}, {}):
        found = parse_action_price(document)
        assert parse_action_price(json_of(rates_json(found))) == found


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": 3},
        {"cache_read": 1},
        {"reasoning": 1, "input": 1},
        {"input": -1},
        {"input": "NaN"},
        {"input": "Infinity"},
        {"input": True},
        {"input": 1.5},
        {"input": None},
        {"input": "0.0000001"},
        {"input": "0." + "1" * 300},
        {"input": "1e1000000"},
        {"input": "1e-1000000"},
        {"input": 1001},
        {"request": 101},
        {"request": [[0, 1]]},
        {"input": []},
        {"input": [[1, 1]]},
        {"input": [[0, 1], [0, 2]]},
        {"input": [[0, 1], [5, 2], [4, 3]]},
        {"input": [[0, 1, 2]]},
        {"input": [0, 1]},
        {"input": [[0, 1], [Decimal("5.5"), 2]]},
    ],
)
def test_rates_that_cannot_be_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(Unprocessable) as refusal:
        parse_rates(document)
    assert refusal.value.problem_code == "invalid_rates"


@pytest.mark.parametrize(
    "document",
    [
        {"credits_per_use": 1, "credits_per_unit": 1},
        {"credits": 1},
        {"credits_per_use": -1},
        {"credits_per_use": "x"},
    ],
)
def test_an_actions_price_that_cannot_be_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(Unprocessable):
        parse_action_price(document)


def test_an_equal_catalogue_changes_nothing() -> None:
    stored = [of_catalogue(1), of_catalogue(2, DEARER, valid_from=T)]
    assert price_changes(stored, [of_catalogue(7), of_catalogue(8, DEARER, valid_from=T)]) == []


def test_what_is_new_and_what_has_other_rates_is_appended() -> None:
    changes = price_changes([of_catalogue(1)], [of_catalogue(1, DEARER), of_catalogue(2, name="torch")])
    assert [change.outcome for change in changes] == ["changed", "added"]


def test_a_start_that_is_offered_no_more_goes_on_with_the_price_before_it() -> None:
    stored = [of_catalogue(1), of_catalogue(2, DEARER, valid_from=T)]
    (change,) = price_changes(stored, [of_catalogue(1)])
    assert (change.outcome, change.after.valid_from, change.after.rates) == ("withdrawn", T, LAMP)


def test_hours_that_are_offered_no_more_end() -> None:
    stored = [of_catalogue(1), of_catalogue(2, DEARER, hours=(time(1), time(4)))]
    (change,) = price_changes(stored, [of_catalogue(1)])
    assert change.outcome == "withdrawn"


def test_a_model_that_is_offered_no_more_keeps_its_prices() -> None:
    assert price_changes([of_catalogue(1)], []) == []


def test_a_model_whose_offer_was_refused_keeps_its_prices() -> None:
    stored = [of_catalogue(1), of_catalogue(2, DEARER, valid_from=T)]
    assert price_changes(stored, [of_catalogue(1)], untouched={("acme", "lamp")}) == []


NIGHT, MORNING = (time(1), time(4)), (time(3), time(6))


def test_of_hours_that_overlap_the_one_listed_last_is_appended_again_where_it_would_not_win() -> None:
    stored = [of_catalogue(1), of_catalogue(2, hours=NIGHT), of_catalogue(3, DEARER, hours=MORNING)]
    offered = [of_catalogue(1), of_catalogue(2, DEARER, hours=MORNING), of_catalogue(3, hours=NIGHT)]
    (change,) = price_changes(stored, offered)
    assert (change.outcome, change.before, change.after) == ("changed", stored[1], offered[2])
    assert price_changes([*stored, replace(offered[2], id=4)], offered) == []


def test_hours_listed_after_new_ones_are_appended_after_them() -> None:
    offered = [of_catalogue(1), of_catalogue(2, DEARER, hours=MORNING), of_catalogue(3, hours=NIGHT)]
    changes = price_changes([of_catalogue(1), of_catalogue(2, hours=NIGHT)], offered)
    assert [(change.outcome, change.after) for change in changes] == [("added", offered[1]), ("changed", offered[2])]


def test_prices_that_hold_all_day_do_not_depend_on_their_order() -> None:
    stored = [of_catalogue(1), of_catalogue(2, hours=NIGHT), of_catalogue(3, DEARER, valid_from=T)]
    offered = [of_catalogue(1), of_catalogue(2, DEARER, valid_from=T), of_catalogue(3, hours=NIGHT)]
    assert price_changes(stored, offered) == []
    earlier = of_catalogue(0, valid_from=T - timedelta(days=1))
    assert [change.outcome for change in price_changes(stored, [earlier, *offered])] == ["added"]


def test_what_is_withdrawn_goes_on_with_what_holds_at_its_start_and_as_long() -> None:
    start, later_start, end = T - timedelta(days=1), T, T + timedelta(days=9)
    stored = [
        of_catalogue(1),
        of_catalogue(2, DEARER, valid_from=start),
        of_catalogue(3, SONNET, valid_from=later_start),
    ]
    (change,) = price_changes(stored, [of_catalogue(1), of_catalogue(2, DEARER, valid_from=start, valid_to=end)])[1:]
    assert (change.outcome, change.before) == ("withdrawn", stored[2])
    assert change.after == replace(stored[2], rates=DEARER, valid_to=end)


def test_what_nothing_else_prices_is_not_withdrawn() -> None:
    assert price_changes([of_catalogue(1), of_catalogue(2, valid_from=T)], [of_catalogue(1, valid_from=T)]) == []


@given(any_versions(), any_versions(), quarters)
def test_what_is_appended_makes_the_stored_catalogue_price_as_the_offered_one(
    before: list[PriceVersion], after: list[PriceVersion], at: datetime
) -> None:
    stored, offered = as_catalogue(before), as_catalogue(after)
    for _ in range(2):
        appended = [change.after for change in price_changes(stored, offered)]
        stored += [replace(version, id=100 + len(stored) + n) for n, version in enumerate(appended)]
    assert price_changes(stored, offered) == []
    assert charged(use(), book_of(*stored), at).api_cost == charged(use(), book_of(*offered), at).api_cost


def as_catalogue(versions: list[PriceVersion]) -> list[PriceVersion]:
    """Return the versions as a catalogue has them: one from the beginning, starts without end, hours without start."""
    listed = [of_catalogue(1)]
    for version in versions:
        if version.source == "catalogue" and version.daily_from is not None:
            listed.append(replace(version, id=len(listed) + 1, valid_from=None))
        elif version.source == "catalogue":
            listed.append(replace(version, id=len(listed) + 1, valid_to=None))
    return listed


def json_of(text: str) -> dict[str, object]:
    loaded = json.loads(text, parse_float=Decimal)
    assert isinstance(loaded, dict)
    return loaded
