"""What a price version says: the rates of a model in USD, or the flat price of an action in credits.

A model's rates are per million tokens, by kind. Cached tokens are parts of the input and reasoning tokens parts of the
output: a part with a rate of its own is priced at that, one without at its whole's rate. A rate is one figure, or tiers
`((0, base), (above, rate), ...)`: the last tier whose `above` is *exceeded* by the call's input tokens, cached ones
included, prices **all** tokens of that kind in the call (the "cliff" that providers bill, not a marginal scale).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal, Inexact, InvalidOperation
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from groat_server.core.credits import (
    DECIMALS,
    EXACT,
    MAX_CREDITS,
    MAX_TOKENS,
    ZERO,
    plain,
    trimmed,
)
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from groat_server.core.usage import Usage

RATE_DECIMALS = 6
"""Decimals of a rate, at most: a token then costs a multiple of 10^-12 USD, which is what an amount can hold."""

MAX_RATE = Decimal(1_000)
"""USD per million tokens, at most. Real models ask up to 600; a mistaken unit asks for thousands."""

MAX_REQUEST_RATE = Decimal(100)
"""USD per request, at most."""

Tiers: TypeAlias = tuple[tuple[int, Decimal], ...]
Rate: TypeAlias = Decimal | Tiers

_MILLIONTHS = -6


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """USD per million tokens by kind, and USD per request; no kind at all leaves the rates to whoever is asked next."""

    input: Rate | None = None
    output: Rate | None = None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    reasoning: Rate | None = None
    request: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no kind has a rate."""
        return self == _NO_RATES

    def api_cost(self, usage: Usage) -> Decimal:
        """Return the exact USD of one call, trimmed; the parts must not exceed their wholes."""
        has_parts = usage.cache_read_tokens or usage.cache_write_tokens or usage.reasoning_tokens
        if not has_parts and isinstance(self.input, Decimal) and isinstance(self.output, Decimal):  # most calls
            total = EXACT.fma(self.output, usage.output_tokens, EXACT.multiply(self.input, usage.input_tokens))
        else:
            total = Decimal(0)
            for _, tokens, rate, _ in self._parts(usage):
                each = rate if isinstance(rate, Decimal) else _tier(rate, usage.input_tokens)[1]
                total = EXACT.fma(each, tokens, total)
        cost = EXACT.scaleb(total, _MILLIONTHS)
        return trimmed(cost if self.request is None else EXACT.add(cost, self.request))

    def components(self, usage: Usage) -> list[Component]:
        """Return what `api_cost` adds up for one call, part by part; parts without tokens or rate are left out."""
        found = [
            Component(kind, tokens, *_applied(rate, usage.input_tokens), priced_as)
            for kind, tokens, rate, priced_as in self._parts(usage)
        ]
        return found if self.request is None else [*found, Component("request", None, self.request, None, "request")]

    def dearest(self, input_tokens: int) -> Rates:
        """Return rates at which no call of at most `input_tokens` costs less than at these.

        All input costs what its dearest part does, all output likewise, each at the dearest tier within reach.
        """
        inputs = (self.input, self.cache_read, self.cache_write)
        return Rates(
            input=_dearest(inputs, input_tokens),
            output=_dearest((self.output, self.reasoning), input_tokens),
            request=self.request,
        )

    def _parts(self, usage: Usage) -> Iterator[tuple[str, int, Rate, str]]:
        """Yield each part of a call that costs something: its kind, its tokens, their rate and whose rate that is."""
        read, write, reasoning = usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens
        for kind, tokens, own, whole_kind, whole in (
            ("input", usage.input_tokens - read - write, self.input, "input", None),
            ("cache_read", read, self.cache_read, "input", self.input),
            ("cache_write", write, self.cache_write, "input", self.input),
            ("output", usage.output_tokens - reasoning, self.output, "output", None),
            ("reasoning", reasoning, self.reasoning, "output", self.output),
        ):
            rate = whole if own is None else own
            if tokens and rate is not None:
                yield kind, tokens, rate, whole_kind if own is None else kind


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a call's cost: so many tokens (null: the call itself) at `rate` USD per million (a call: USD).

    `above` is the tier that priced it: the call had more input tokens than these; None where the rate has no tiers.
    `priced_as` is the kind whose rate it is.
    """

    kind: str
    tokens: int | None
    rate: Decimal
    above: int | None
    priced_as: str

    @property
    def cost(self) -> Decimal:
        """The exact USD, trimmed."""
        if self.tokens is None:
            return trimmed(self.rate)
        return trimmed(EXACT.scaleb(EXACT.multiply(self.rate, self.tokens), _MILLIONTHS))


_NO_RATES = Rates()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionPrice:
    """The credits of an action, for each use or for each unit; neither leaves the price to the model that was used."""

    credits_per_use: Decimal | None = None
    credits_per_unit: Decimal | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the action has no price of its own."""
        return self.credits_per_use is None and self.credits_per_unit is None

    def credits(self, quantity: Decimal | None) -> Decimal:
        """Return the exact credits of one use of `quantity` units, absent: 1."""
        if self.credits_per_use is not None:
            return self.credits_per_use
        each = ZERO if self.credits_per_unit is None else self.credits_per_unit
        return each if quantity is None else EXACT.multiply(each, quantity)


_RATE_KINDS = frozenset(field.name for field in fields(Rates))
_WHOLES = {"cache_read": "input", "cache_write": "input", "reasoning": "output"}


def parse_rates(document: Mapping[str, object]) -> Rates:
    """Return the rates that a JSON object states: a number (or decimal string) a kind, or `[[0, base], [above, rate]]`.

    Raises `Unprocessable` (`invalid_rates`) for an unknown kind, a part without its whole, a rate that is negative,
    above its bound or has more than 6 decimals, and tiers that do not begin at 0 and rise.
    """
    if unknown := sorted(document.keys() - _RATE_KINDS):
        raise _invalid(f"there is no kind of token {unknown[0]!r}")
    for part, whole in _WHOLES.items():
        if part in document and whole not in document:
            raise _invalid(f"{part} has a rate but {whole}, of which it is a part, has none")
    rates = {kind: _rate(kind, value) for kind, value in document.items() if kind != "request"}
    request = document.get("request")
    return Rates(
        input=rates.get("input"),
        output=rates.get("output"),
        cache_read=rates.get("cache_read"),
        cache_write=rates.get("cache_write"),
        reasoning=rates.get("reasoning"),
        request=None if request is None else _number("request", request, MAX_REQUEST_RATE, RATE_DECIMALS),
    )


def parse_action_price(document: Mapping[str, object]) -> ActionPrice:
    """Return the price that a JSON object states: `credits_per_use` or `credits_per_unit` or nothing.

    Raises `Unprocessable` (`invalid_rates`) for anything else and for prices that no charge could hold.
    """
    if unknown := sorted(document.keys() - {"credits_per_use", "credits_per_unit"}):
        raise _invalid(f"an action has no {unknown[0]!r}")
    if len(document) > 1:
        raise _invalid("an action costs either credits_per_use or credits_per_unit")
    return ActionPrice(**{kind: _number(kind, value, MAX_CREDITS, DECIMALS) for kind, value in document.items()})


def rates_json(price: Rates | ActionPrice) -> str:
    """Return the JSON text of a price, numbers in plain notation; `parse_…` reads it back."""
    stated = ((field.name, getattr(price, field.name)) for field in fields(price))
    return "{" + ", ".join(f'"{kind}": {_json(rate)}' for kind, rate in stated if rate is not None) + "}"


def _tier(tiers: Tiers, size: int) -> tuple[int, Decimal]:
    for above, rate in reversed(tiers):
        if size > above:
            return above, rate
    return tiers[0]


def _applied(rate: Rate, size: int) -> tuple[Decimal, int | None]:
    if isinstance(rate, Decimal):
        return rate, None
    above, dollars = _tier(rate, size)
    return dollars, above


def _dearest(rates: Iterable[Rate | None], size: int) -> Decimal | None:
    """Return the highest of these rates that a call of at most `size` input tokens can meet."""
    within_reach: list[Decimal] = []
    for rate in rates:
        if isinstance(rate, Decimal):
            within_reach.append(rate)
        elif rate is not None:
            within_reach += [dollars for above, dollars in rate if above < max(size, 1)]
    return max(within_reach, default=None)


def _json(rate: Rate) -> str:
    if isinstance(rate, Decimal):
        return plain(rate)
    return "[" + ", ".join(f"[{above}, {plain(each)}]" for above, each in rate) + "]"


def _rate(kind: str, value: object) -> Rate:
    if not isinstance(value, list | tuple):
        return _number(kind, value, MAX_RATE, RATE_DECIMALS)
    tiers = tuple(_parsed_tier(kind, pair) for pair in value)
    if not tiers or tiers[0][0] != 0 or any(lower >= upper for (lower, _), (upper, _) in pairwise(tiers)):
        raise _invalid(f"the tiers of {kind} begin at 0 tokens and rise")
    return tiers


def _parsed_tier(kind: str, pair: object) -> tuple[int, Decimal]:
    if not isinstance(pair, list | tuple) or len(pair) != 2:  # noqa: PLR2004 - a pair
        raise _invalid(f"a tier of {kind} is [tokens, rate]")
    above = _number(f"a tier of {kind}", pair[0], Decimal(MAX_TOKENS), 0)
    return int(above), _number(kind, pair[1], MAX_RATE, RATE_DECIMALS)


def _number(kind: str, value: object, most: Decimal, places: int) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise _invalid(f"{kind} is no number")
    try:
        number = EXACT.quantize(Decimal(value), Decimal(1).scaleb(-places))
    except (Inexact, InvalidOperation):
        raise _invalid(f"{kind} is no number of at most {places} decimals") from None
    if not number.is_finite() or not 0 <= number <= most:
        raise _invalid(f"{kind} is outside 0 to {plain(most)}")
    return trimmed(number)


def _invalid(detail: str) -> Unprocessable:
    return Unprocessable(detail, code="invalid_rates")
