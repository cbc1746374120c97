"""The public price list: what is taken over of it costs what the library says it costs, at any time."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache

import pytest
from genai_prices import Usage as LibraryUsage
from genai_prices import types as library
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from groat_server import catalogue
from groat_server.core.pricing import Charge, PriceBook, Unpriceable, price
from groat_server.core.rates import MAX_RATE, Rates
from groat_server.core.usage import Usage

BEGINNING = datetime(2023, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)


@cache
def book() -> PriceBook:
    return PriceBook(
        version=1,
        credits_per_dollar=Decimal(10),
        multiplier=Decimal(1),
        versions=tuple(catalogue.versions()),
        identify=catalogue.identify,
    )


@cache
def book_of_exact_names() -> PriceBook:
    return PriceBook(
        version=1, credits_per_dollar=Decimal(10), multiplier=Decimal(1), versions=tuple(catalogue.versions())
    )


@cache
def priced_models() -> list[tuple[library.Provider, library.ModelInfo]]:
    """Every model of the library of which we take over a price."""
    listed = {(version.provider, version.name) for version in catalogue.versions()}
    everything = [(provider, model) for provider in get_snapshot().providers for model in provider.models]
    return [(provider, model) for provider, model in everything if (provider.id, model.id) in listed]


@cache
def rounded_models() -> set[tuple[str, str]]:
    return {(finding.provider, finding.model) for finding in catalogue.catalogue().findings}


def usage_of(model: str, provider: str | None, counts: tuple[int, int, int, int, int]) -> Usage:
    input_tokens, output_tokens, read, write, reasoning = counts
    return Usage(
        user_id=1,
        idempotency_key="key",
        action_type="chat",
        model=model,
        provider=provider,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=reasoning,
    )


def use(model: str, provider: str | None = None) -> Usage:
    return usage_of(model, provider, (1000, 500, 0, 0, 0))


def charged(usage: Usage, at: datetime) -> Charge:
    found = price(usage, book(), at)
    assert isinstance(found, Charge), found
    return found


def assert_costs_what_the_library_says(
    provider: library.Provider, model: library.ModelInfo, counts: tuple[int, int, int, int, int], at: datetime
) -> None:
    theirs = model.calc_price(
        LibraryUsage(
            input_tokens=counts[0],
            output_tokens=counts[1],
            cache_read_tokens=counts[2],
            cache_write_tokens=counts[3],
            output_reasoning_tokens=counts[4],
        ),
        provider,
        genai_request_timestamp=at,
    ).total_price
    ours = price(usage_of(model.id, provider.id, counts), book_of_exact_names(), at)
    assert isinstance(ours, Charge), (provider.id, model.id, ours)
    assert ours.api_cost is not None
    if (provider.id, model.id) in rounded_models():
        half_a_millionth = Decimal("0.0000005")
        assert abs(ours.api_cost - theirs) <= (counts[0] + counts[1]) * half_a_millionth / 10**6
    else:
        assert ours.api_cost == theirs, (provider.id, model.id, counts, at)


def any_counts(seed: random.Random) -> tuple[int, int, int, int, int]:
    size = seed.choice([0, 1, 1000, 200_000, 200_001, 272_000, 272_001, seed.randrange(10**6), seed.randrange(10**9)])
    read = seed.randint(0, size)
    output = seed.choice([0, seed.randrange(10**6)])
    return size, output, read, seed.randint(0, size - read), seed.randint(0, output)


def edges_of(model: library.ModelInfo) -> list[datetime]:
    """Instants beside which the price of a model may change."""
    edges = [END]
    for entry in model.prices if isinstance(model.prices, list) else []:
        if isinstance(entry.constraint, library.StartDateConstraint):
            edges.append(datetime.combine(entry.constraint.start_date, time(), UTC))
        elif isinstance(entry.constraint, library.TimeOfDateConstraint):
            hours = entry.constraint.start_time, entry.constraint.end_time
            edges += [datetime.combine(day, hour) for day in (BEGINNING, END) for hour in hours]
    return edges


def test_every_model_costs_what_the_library_says_at_random_and_critical_times() -> None:
    seed = random.Random(20260301)
    models = priced_models()
    assert len(models) > 2000
    for provider, model in models:
        times = [BEGINNING + seed.random() * (END - BEGINNING) for _ in range(4)]
        times += [edge + step for edge in edges_of(model) for step in (-TICK, timedelta(0))]
        for at in times:
            assert_costs_what_the_library_says(provider, model, any_counts(seed), at)


@given(st.data())
def test_any_model_costs_what_the_library_says_for_any_tokens_at_any_time(data: st.DataObject) -> None:
    provider, model = data.draw(st.sampled_from(priced_models()))
    at = data.draw(st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
    size = data.draw(st.integers(0, 10**9))
    output = data.draw(st.integers(0, 10**9))
    read = data.draw(st.integers(0, size))
    write = data.draw(st.integers(0, size - read))
    counts = size, output, read, write, data.draw(st.integers(0, output))
    assert_costs_what_the_library_says(provider, model, counts, at)


def test_a_thousand_in_and_five_hundred_out_of_claude_3_5_sonnet() -> None:
    charge = charged(use("claude-3-5-sonnet"), END)
    assert (str(charge.api_cost), str(charge.credits_charged)) == ("0.0105", "0.105")


def test_cached_tokens_of_claude_3_5_sonnet() -> None:
    charge = charged(usage_of("claude-3-5-sonnet", None, (10_000, 500, 8_000, 1_000, 0)), END)
    assert str(charge.api_cost) == "0.01665"


def test_o3_costs_what_it_cost_at_the_time() -> None:
    cheaper = datetime(2025, 6, 10, tzinfo=UTC)
    before, after = (
        charged(use("o3"), datetime(2025, 5, 1, tzinfo=UTC)),
        charged(use("o3"), datetime(2025, 8, 1, tzinfo=UTC)),
    )
    assert (str(before.api_cost), before.valid_until) == ("0.03", cheaper)
    assert (str(after.api_cost), after.valid_from) == ("0.006", cheaper)
    assert charged(use("o3"), cheaper - TICK).price_id == before.price_id
    assert charged(use("o3"), cheaper).price_id == after.price_id


@pytest.mark.parametrize(
    ("model", "provider", "identified"),
    [
        ("claude-3-5-sonnet", None, ("anthropic", "claude-3-5-sonnet")),
        ("claude-3-5-sonnet-20241022", None, ("anthropic", "claude-3-5-sonnet")),
        ("Claude-3-5-Sonnet", "Anthropic", ("anthropic", "claude-3-5-sonnet")),
        ("anthropic/claude-3-5-sonnet", "litellm", ("anthropic", "claude-3-5-sonnet")),
        ("gpt-4o", "azure", ("openai", "gpt-4o")),
        ("nonsense", None, None),
        ("gpt-4o", "nonsense", None),
        ("", "", None),
        ("\x00", None, None),
    ],
)
def test_models_are_recognised_as_the_library_does(
    model: str, provider: str | None, identified: tuple[str, str] | None
) -> None:
    assert catalogue.identify(model, provider) == identified


@pytest.mark.parametrize(
    ("model", "how"), [("claude-3-5-sonnet", "exact"), ("claude-3-5-sonnet-20241022", "alias"), ("nonsense", None)]
)
def test_it_says_how_it_recognised_a_model(model: str, how: str | None) -> None:
    identified = catalogue.identify(model, None)
    matched = None if identified is None else "exact" if identified[1].lower() == model.lower() else "alias"
    assert matched == how


def test_every_model_can_be_had_by_the_name_it_is_listed_under() -> None:
    for provider, model in priced_models():
        charged(use(model.id, provider.id), END)


@given(st.text(max_size=40), st.none() | st.text(max_size=20))
def test_recognising_never_fails(model: str, provider: str | None) -> None:
    assert catalogue.identify(model, provider) is None or isinstance(
        price(use(model, provider), book(), END), Charge | Unpriceable
    )


def test_asking_for_names_that_nobody_knows_leaves_nothing_behind() -> None:
    before = len(get_snapshot()._provider_misses)  # noqa: SLF001 - the memory that must not grow
    assert catalogue.identify("nobody-has-heard-of-this", None) is None
    assert len(get_snapshot()._provider_misses) == before  # noqa: SLF001


def test_real_rates_are_within_bounds_and_far_from_mistaken_units() -> None:
    findings = catalogue.catalogue().findings
    assert {finding.outcome for finding in findings} <= {"rounded"}
    highest = max(
        rate
        for version in catalogue.versions()
        if isinstance(version.rates, Rates)
        for rate in (version.rates.input, version.rates.output)
        if isinstance(rate, Decimal)
    )
    assert highest <= MAX_RATE


def test_a_rate_in_a_mistaken_unit_is_refused_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogue_of(monkeypatch, library.ModelPrice(input_mtok=Decimal(15_000), output_mtok=Decimal(1)))
    assert found.versions == ()
    assert [finding.outcome for finding in found.findings] == ["refused"]


def test_a_rate_with_the_traces_of_a_float_is_rounded_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogue_of(monkeypatch, library.ModelPrice(input_mtok=Decimal("0.18000000000000002")))
    assert [version.rates for version in found.versions] == [Rates(input=Decimal("0.18"))]
    assert [finding.outcome for finding in found.findings] == ["rounded"]


def test_a_model_without_a_price_per_token_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalogue_of(monkeypatch, library.ModelPrice(input_mchars=Decimal(15)))
    assert found == catalogue.Catalogue((), ())


NIGHT = library.TimeOfDateConstraint(time(22, tzinfo=UTC), time(6, tzinfo=UTC))
MARCH = library.StartDateConstraint(datetime(2026, 3, 1, tzinfo=UTC).date())
APRIL = library.StartDateConstraint(datetime(2026, 4, 1, tzinfo=UTC).date())


@pytest.mark.parametrize(
    "constraints",
    [
        [None, NIGHT, MARCH],
        [None, MARCH, NIGHT, APRIL],
        [None, APRIL, MARCH],
        [MARCH, APRIL],
        [NIGHT, MARCH],
        [None, MARCH, None],
        [None, NIGHT, None],
        [None, MARCH, MARCH],
        [NIGHT],
    ],
)
def test_prices_win_in_whatever_order_the_library_lists_them(
    monkeypatch: pytest.MonkeyPatch,
    constraints: list[library.StartDateConstraint | library.TimeOfDateConstraint | None],
) -> None:
    entries = [
        library.ConditionalPrice(constraint, prices=library.ModelPrice(input_mtok=Decimal(number)))
        for number, constraint in enumerate(constraints, start=1)
    ]
    versions = catalogue_of(monkeypatch, entries).versions
    found = PriceBook(version=1, credits_per_dollar=Decimal(10), multiplier=Decimal(1), versions=versions)
    model = library.ModelInfo("lamp", library.ClauseEquals("lamp"), prices=entries)
    for hour in range(-24 * 3, 24 * 40):
        at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hour)
        charge = price(usage_of("lamp", "acme", (10**6, 0, 0, 0, 0)), found, at)
        assert isinstance(charge, Charge)
        assert charge.api_cost == model.get_prices(at).__dict__["input_mtok"]


def catalogue_of(
    monkeypatch: pytest.MonkeyPatch, prices: library.ModelPrice | list[library.ConditionalPrice]
) -> catalogue.Catalogue:
    """Return what is taken over of a library with one model."""
    model = library.ModelInfo("lamp", library.ClauseEquals("lamp"), prices=prices)
    provider = library.Provider("acme", "Acme", "", models=[model])
    snapshot = type(get_snapshot())([provider], from_auto_update=False)
    monkeypatch.setattr("genai_prices.data_snapshot._custom_snapshot", snapshot)
    return catalogue.catalogue.__wrapped__()


def test_the_version_names_the_library() -> None:
    name, number = catalogue.catalogue_version().split()
    assert (name, number[0].isdigit()) == ("genai-prices", True)


def test_the_library_is_loaded_only_when_it_is_needed() -> None:
    program = "import sys, groat_server.catalogue; sys.exit('genai_prices' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
