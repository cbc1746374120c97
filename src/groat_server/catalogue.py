"""The public price list: `genai-prices`, its offline data and its own way of recognising models.

Nothing else imports that library, and this module only when it is asked something: loading it takes a third of a
second. What we do not meter is left out: service tiers, audio, images, searches, the longer cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from groat_server.core.credits import plain
from groat_server.core.price_book import PriceVersion
from groat_server.core.rates import RATE_DECIMALS, parse_rates
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import (
        ModelInfo,
        ModelPrice,
        StartDateConstraint,
        TieredPrices,
        TimeOfDateConstraint,
    )

    from groat_server.core.rates import Rates

LIBRARY = "genai-prices"

_TOKEN_KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
_PER_REQUEST = "requests_kcount"
_EVER = datetime.min.replace(tzinfo=UTC)
_FINEST = Decimal(1).scaleb(-RATE_DECIMALS)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in the library's data that we do not take over as it stands.

    `rounded`: a rate of more than 6 decimals per million was rounded half up to 6 (they are the traces of binary
    floats and of thirds). `refused`: a rate is out of bounds, and this version of the model's price is not offered.
    """

    outcome: Literal["rounded", "refused"]
    provider: str
    model: str
    detail: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the library offers: price versions, later ones of a model after earlier ones, and what was amiss."""

    versions: tuple[PriceVersion, ...]
    findings: tuple[Finding, ...]


def catalogue_version() -> str:
    """Return the name and version of the price list, such as "genai-prices 0.2.3"."""
    return f"{LIBRARY} {version(LIBRARY)}"


def load() -> None:
    """Import the library and its data, so that no later call has to: a third of a second, in any thread."""
    _snapshot()


def versions() -> list[PriceVersion]:
    """Return every model's price versions; their ids are positions in the list, not the database's."""
    return list(catalogue().versions)


@cache
def catalogue() -> Catalogue:
    """Read the library's data, once a process: about half a second the first time."""
    listed: list[PriceVersion] = []
    findings: list[Finding] = []
    for provider in _snapshot().providers:
        for model in provider.models:
            for window in _windows(model):
                for found in _taken(window.prices, provider.id, model.id):
                    if isinstance(found, Finding):
                        findings.append(found)
                    else:
                        listed.append(_version(len(listed) + 1, provider.id, model.id, window, found))
    return Catalogue(tuple(listed), tuple(findings))


@lru_cache(maxsize=4096)
def identify(model: str, provider: str | None) -> tuple[str, str] | None:
    """Return the (provider, model) under which the library lists what was requested, or None; it never raises.

    The provider is the one that owns the price: a model that Azure resells at OpenAI's price is OpenAI's. Case is
    ignored, aliases, dated names and the prefixes of proxies are recognised, and without `provider` it is inferred.
    """
    snapshot = _snapshot()
    try:
        seller, found = snapshot.find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    lenders = (each for each in snapshot.providers if each.id in (seller.fallback_model_providers or ()))
    return next((owner.id, found.id) for owner in (seller, *lenders) if any(each is found for each in owner.models))


def _snapshot() -> DataSnapshot:
    """Return the data with an empty memory: the library's own keeps every name that it was ever asked."""
    from genai_prices.data_snapshot import DataSnapshot, get_snapshot  # noqa: PLC0415 - a slow import that not every process needs

    return DataSnapshot(get_snapshot().providers, from_auto_update=False)


@dataclass(frozen=True, slots=True)
class _Window:
    """When the library applies some prices."""

    prices: ModelPrice
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    daily_from: time | None = None
    daily_to: time | None = None


def _windows(model: ModelInfo) -> Iterator[_Window]:
    """Yield when each of a model's prices applies, where the library lets the last one that is active win.

    It falls back on the first, which therefore holds from the beginning, whatever its condition.
    """
    if not isinstance(model.prices, list):
        yield _Window(model.prices)
        return
    times = [_EVER, *(_when(entry.constraint) for entry in model.prices[1:])]
    for position, (when, entry) in enumerate(zip(times, model.prices, strict=True)):
        successors = [later for later in times[position + 1 :] if isinstance(later, datetime)]
        if isinstance(when, datetime):
            if all(later > when for later in successors):
                yield _Window(entry.prices, None if when == _EVER else when)
        elif (until := min(successors, default=None)) != _EVER:
            yield _Window(entry.prices, None, until, *when)


def _when(constraint: StartDateConstraint | TimeOfDateConstraint | None) -> datetime | tuple[time, time]:
    """Return the instant from which a price holds all day, or the hours of the day in which it holds."""
    from genai_prices.types import StartDateConstraint  # noqa: PLC0415 - a slow import that not every process needs

    if constraint is None:
        return _EVER
    if isinstance(constraint, StartDateConstraint):
        return datetime.combine(constraint.start_date, time(), UTC)
    return _utc(constraint.start_time), _utc(constraint.end_time)


def _utc(hour: time) -> time:
    if hour.tzinfo is None:
        return hour
    return datetime.combine(date(1970, 1, 1), hour).astimezone(UTC).time()


def _version(position: int, provider: str, model: str, window: _Window, rates: Rates) -> PriceVersion:
    return PriceVersion(
        id=position,
        kind="model",
        name=model,
        provider=provider,
        source="catalogue",
        valid_from=window.valid_from,
        valid_to=window.valid_to,
        daily_from=window.daily_from,
        daily_to=window.daily_to,
        rates=rates,
    )


def _taken(prices: ModelPrice, provider: str, model: str) -> Iterator[Rates | Finding]:
    """Yield the rates that we meter, unless there are none or they are out of bounds, and whatever was amiss."""
    listed = {kind: _figures(getattr(prices, key)) for kind, key in _TOKEN_KINDS.items()}
    if not any(listed.values()):
        return
    listed["request"] = [(above, rate.scaleb(-3)) for above, rate in _figures(getattr(prices, _PER_REQUEST))]
    document: dict[str, object] = {}
    for kind, figures in listed.items():
        settled = [(above, rate.quantize(_FINEST, ROUND_HALF_UP)) for above, rate in figures]
        if settled != figures:
            yield Finding("rounded", provider, model, f"{kind}: {', '.join(plain(rate) for _, rate in figures)}")
        if settled:
            document[kind] = settled if len(settled) > 1 else settled[0][1]
    try:
        yield parse_rates(document)
    except Unprocessable as error:
        yield Finding("refused", provider, model, error.detail)


def _figures(rate: Decimal | TieredPrices | None) -> list[tuple[int, Decimal]]:
    if rate is None:
        return []
    if isinstance(rate, Decimal):
        return [(0, rate)]
    return [(0, rate.base), *((tier.start, tier.price) for tier in rate.tiers)]
