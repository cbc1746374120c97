"""Which price holds when: versions of prices, and the book that finds the one in force.

Rows of price versions are appended, never edited. Of the rows with the same start and the same daily hours the newest
replaces the others entirely, also in its end; that is how a mistake is corrected. Among those in force at an instant a
version with daily hours beats one that holds all day, then the latest start wins, then the newest row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from decimal import Decimal

    from groat_server.core.pricing import Charge
    from groat_server.core.rates import ActionPrice, Rates

Kind: TypeAlias = Literal["model", "action"]
Source: TypeAlias = Literal["catalogue", "override"]
UnknownModelPolicy: TypeAlias = Literal["reject", "fallback", "unpriced"]
Series: TypeAlias = tuple["PriceVersion", ...]

_Question: TypeAlias = tuple[Kind, str, str | None]

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_DAY = timedelta(days=1)

_MEMO_SIZE = 4096
"""Resolutions that a book remembers: names come from outside, so there must be an end to them."""

_STEPS = 64
"""Neighbouring spans that are joined to one window, at most; a shorter window is as right as a longer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceVersion:
    """One row of `price_versions`: a price, the instants `[valid_from, valid_to)` and the UTC hours it holds in.

    `None` is unbounded, or all day, or any provider. `daily_from` later than `daily_to` passes midnight.
    """

    id: int
    kind: Kind
    name: str
    provider: str | None = None
    source: Source
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    daily_from: time | None = None
    daily_to: time | None = None
    rates: Rates | ActionPrice
    multiplier: Decimal | None = None
    note: str | None = None
    recorded_at: datetime | None = None

    def spans(self, at: datetime) -> bool:
        """Tell whether `at` lies between this version's start and end, whatever its hours."""
        return (self.valid_from is None or self.valid_from <= at) and (self.valid_to is None or at < self.valid_to)

    def holds(self, at: datetime) -> bool:
        """Tell whether this version is in force at `at`."""
        if not self.spans(at):
            return False
        if self.daily_from is None or self.daily_to is None:
            return True
        hour = at.astimezone(UTC).time()
        if self.daily_to < self.daily_from:
            return hour >= self.daily_from or hour < self.daily_to
        return self.daily_from <= hour < self.daily_to

    def edges(self, at: datetime) -> Iterator[datetime]:
        """Yield the instants at which this version may begin or cease to hold, of its hours those next to `at`."""
        if self.valid_from is not None:
            yield self.valid_from
        if self.valid_to is not None:
            yield self.valid_to
        if self.daily_from is None or self.daily_to is None or not self.spans(at):
            return
        if not _FIRST + _DAY < at < _LAST - 2 * _DAY:  # a neighbouring day must exist
            return
        midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for hour in (self.daily_from, self.daily_to):
            since_midnight = timedelta(
                hours=hour.hour, minutes=hour.minute, seconds=hour.second, microseconds=hour.microsecond
            )
            for day in (-_DAY, timedelta(0), _DAY):
                yield midnight + day + since_midnight


@dataclass(frozen=True, slots=True)
class Found:
    """What was found for one question, and the window `[valid_from, valid_until)` in which the answer stays the same.

    `multiplier` is the one that the versions state, `None` where they leave it to the book.
    """

    version: PriceVersion | None
    multiplier: Decimal | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        """Tell whether `at` lies in the window."""
        return (self.valid_from is None or self.valid_from <= at) and (
            self.valid_until is None or at < self.valid_until
        )


NOTHING = Found(None)


def find(series: Series, at: datetime) -> Found:
    """Return the version of one series that is in force at `at`, or none, with the window in which it stays so."""
    chosen = _in_force(series, at)
    since, until = _span(series, at)
    for _ in range(_STEPS):
        if since is None or since == _FIRST or _in_force(series, since - _TICK) is not chosen:
            break
        since = _span(series, since - _TICK)[0]
    for _ in range(_STEPS):
        if until is None or _in_force(series, until) is not chosen:
            break
        until = _span(series, until)[1]
    return Found(chosen, chosen.multiplier if chosen else None, since, until)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PriceBook:
    """All that a price depends on, at one version of it: immutable but for what it remembers of its own answers.

    `charges` is what `pricing` remembers of its own.

    `identify` maps a model as requested and the provider, if one was named, to the catalogue's (provider, model); it
    does not raise. `fallback_rates` is set where `unknown_model` is "fallback".
    """

    version: int
    credits_per_dollar: Decimal
    multiplier: Decimal
    unknown_model: UnknownModelPolicy = "reject"
    fallback_rates: Rates | None = None
    versions: tuple[PriceVersion, ...] = ()
    identify: Callable[[str, str | None], tuple[str, str] | None] = field(default=lambda *_: None, repr=False)
    charges: dict[tuple[object, ...], Charge] = field(init=False, repr=False, default_factory=dict)
    _series: dict[tuple[Source, str, str | None], Series] = field(init=False, repr=False)
    _actions: dict[str, Series] = field(init=False, repr=False)
    _providers: dict[str, set[str | None]] = field(init=False, repr=False)
    _answers: dict[_Question, Found] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        series: dict[tuple[Source, str, str | None], list[PriceVersion]] = {}
        actions: dict[str, list[PriceVersion]] = {}
        providers: dict[str, set[str | None]] = {}
        for version in self.versions:
            if version.kind == "action":
                actions.setdefault(version.name, []).append(version)
                continue
            series.setdefault((version.source, version.name, version.provider), []).append(version)
            if version.source == "catalogue":
                providers.setdefault(version.name, set()).add(version.provider)
        object.__setattr__(self, "_series", {key: _newest(rows) for key, rows in series.items()})
        object.__setattr__(self, "_actions", {name: _newest(rows) for name, rows in actions.items()})
        object.__setattr__(self, "_providers", providers)

    def find_action(self, action_type: str, at: datetime) -> Found:
        """Return the price version of an action that is in force at `at`; its price may be empty."""
        series = self._actions.get(action_type)
        if series is None:
            return NOTHING
        key: _Question = ("action", action_type, None)
        found = self._answers.get(key)
        return found if found is not None and found.holds(at) else self._remember(key, find(series, at))

    def find_model(self, model: str, provider: str | None, at: datetime) -> Found:
        """Return the version that gives the rates of a model at `at`, and the multiplier of the first that states one.

        Asked in this order: our own prices for the model as requested, for the model the catalogue takes it for, then
        the catalogue's, then all who list a model of exactly this name, where they agree. A price of our own without
        rates passes the question on (and may state a multiplier).
        """
        key: _Question = ("model", model, provider)
        found = self._answers.get(key)
        if found is not None and found.holds(at):
            return found
        return self._remember(key, self._resolve(model, provider, at))

    def _remember(self, key: _Question, found: Found) -> Found:
        if len(self._answers) >= _MEMO_SIZE:
            self._answers.clear()
        self._answers[key] = found
        return found

    def _resolve(self, model: str, provider: str | None, at: datetime) -> Found:
        since: datetime | None = None
        until: datetime | None = None
        multiplier: Decimal | None = None
        for key in self._candidates(model, provider):
            series = self._series.get(key)
            if series is None:
                continue
            found = find(series, at)
            since, until = later(since, found.valid_from), earlier(until, found.valid_until)
            if multiplier is None:
                multiplier = found.multiplier
            if found.version is not None and not found.version.rates.is_empty:
                return Found(found.version, multiplier, since, until)
        if provider is None:
            found = self._agreed(model, at)
            since, until = later(since, found.valid_from), earlier(until, found.valid_until)
            return Found(found.version, multiplier, since, until)
        return Found(None, multiplier, since, until)

    def _agreed(self, model: str, at: datetime) -> Found:
        """Return the catalogue's version of a model of exactly this name, if all who list it ask the same for it."""
        providers = sorted(self._providers.get(model, ()), key=str)
        offers = [find(self._series["catalogue", model, provider], at) for provider in providers]
        since, until = None, None
        for offer in offers:
            since, until = later(since, offer.valid_from), earlier(until, offer.valid_until)
        versions = [offer.version for offer in offers if offer.version is not None]
        agree = bool(versions) and all(version.rates == versions[0].rates for version in versions)
        return Found(versions[0] if agree else None, None, since, until)

    def _candidates(self, model: str, provider: str | None) -> Iterator[tuple[Source, str, str | None]]:
        yield "override", model, provider
        yield "override", model, None
        identified = self.identify(model, provider)
        if identified is not None:
            owner, name = identified
            yield "override", name, provider
            yield "override", name, owner
            yield "override", name, None
            yield "catalogue", name, owner
        if provider is not None:
            yield "catalogue", model, provider


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two starts, `None` being the beginning of time."""
    return other if one is None else one if other is None else max(one, other)


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the earlier of two ends, `None` being the end of time."""
    return other if one is None else one if other is None else min(one, other)


def _newest(rows: Iterable[PriceVersion]) -> Series:
    by_start = {(row.valid_from, row.daily_from, row.daily_to): row for row in sorted(rows, key=lambda row: row.id)}
    return tuple(by_start.values())


def _in_force(series: Series, at: datetime) -> PriceVersion | None:
    return max((version for version in series if version.holds(at)), key=_precedence, default=None)


def _precedence(version: PriceVersion) -> tuple[bool, datetime, int]:
    return version.daily_from is not None, version.valid_from or _FIRST, version.id


def _span(series: Series, at: datetime) -> tuple[datetime | None, datetime | None]:
    edges = [edge for version in series for edge in version.edges(at)]
    since = max((edge for edge in edges if edge <= at), default=None)
    return since, min((edge for edge in edges if edge > at), default=None)
