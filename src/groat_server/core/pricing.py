"""What one use costs: usage and price book in, charge out. No clock, no I/O, no price list of its own.

The precedence, highest first: the flat price of the action; the API cost that the caller states; the rates of the
model; the policy for what nobody knows. Versions and their order are in `price_book`, rates in `rates`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, TypeAlias

from groat_server.core.credits import (
    MAX_API_COST,
    MAX_CREDITS,
    ZERO,
    credits_for,
    plain,
    rounded,
    trimmed,
)
from groat_server.core.price_book import (
    NOTHING,
    Found,
    PriceBook,
    PriceVersion,
    UnknownModelPolicy,
    earlier,
    later,
)
from groat_server.core.rates import ActionPrice, Rates

if TYPE_CHECKING:
    from datetime import datetime

    from groat_server.core.usage import Usage

__all__ = [
    "ActionPrice",
    "Charge",
    "CostSource",
    "PriceBook",
    "PriceVersion",
    "Rates",
    "UnknownModelPolicy",
    "Unpriceable",
    "UnpriceableCode",
    "price",
]

CostSource: TypeAlias = Literal["model", "action", "caller", "fallback", "unpriced"]
UnpriceableCode: TypeAlias = Literal[
    "unknown_model", "unpriced_action", "inconsistent_tokens", "cost_out_of_bounds", "unknown_action_type"
]

_ONE = Decimal(1)

_REMEMBERED_MAX = 4096
"""Charges that a book remembers: uses of the same size are common, and there must be an end to them."""

_PRICED_BY = attrgetter(
    "action_type",
    "model",
    "provider",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "quantity",
    "api_cost",
)


@dataclass(frozen=True, slots=True)
class Charge:
    """Credits owed for one use, and all that explains them.

    `credits_charged = round(api_cost * credits_per_dollar * multiplier, 12)` wherever an `api_cost` (USD) priced the
    use; for an action's flat price `api_cost` is only what the caller stated. `price_id` is the version that priced it.
    The charge is what it is for every instant of `[valid_from, valid_until)`, `None` being unbounded.
    """

    credits_charged: Decimal
    api_cost: Decimal | None
    credits_per_dollar: Decimal
    multiplier: Decimal
    cost_source: CostSource
    price_id: int | None
    valid_from: datetime | None
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Unpriceable:
    """Why a use has no price; `detail` is for people.

    `unknown_model`, `unpriced_action`: nobody has a price and the policy does not help. `cost_out_of_bounds`: more than
    10^6 USD or 10^12 credits, which no event can hold. `inconsistent_tokens`: parts that exceed their whole.
    `unknown_action_type` is not for this module to say, but for who keeps the list of them.
    """

    code: UnpriceableCode
    detail: str


def price(usage: Usage, book: PriceBook, at: datetime, *, dearest: bool = False) -> Charge | Unpriceable:
    """Return the credits owed for one use at the prices in force at `at` (aware), or why there are none.

    With `dearest`, return what a use of at most these tokens can cost, whatever of them is cached or reasoning.
    """
    asked = (*_PRICED_BY(usage), dearest)
    known = book.charges.get(asked)
    if (
        known is not None
        and (known.valid_from is None or known.valid_from <= at)
        and (known.valid_until is None or at < known.valid_until)
    ):
        return known
    priced = _price(usage, book, at, dearest=dearest)
    if isinstance(priced, Charge):
        if len(book.charges) >= _REMEMBERED_MAX:
            book.charges.clear()
        book.charges[asked] = priced
    return priced


def _price(usage: Usage, book: PriceBook, at: datetime, *, dearest: bool) -> Charge | Unpriceable:
    found = book.find_action(usage.action_type, at)
    if found.version is not None and isinstance(flat := found.version.rates, ActionPrice) and not flat.is_empty:
        return _flat(usage, flat, book, found)
    if usage.api_cost is not None:
        return _costed(trimmed(usage.api_cost), "caller", book, found)
    if usage.model is not None:
        found = _within(found, book.find_model(usage.model, usage.provider, at))
        if found.version is not None and isinstance(rates := found.version.rates, Rates):
            return _metered(usage, _within_reach(rates, usage, dearest=dearest), "model", book, found)
    return _unknown(usage, book, found, dearest=dearest)


def _within_reach(rates: Rates, usage: Usage, *, dearest: bool) -> Rates:
    return rates.dearest(usage.input_tokens) if dearest else rates


def _within(action: Found, model: Found) -> Found:
    """Return what the model's versions say where the action's say it too; the action's multiplier comes first."""
    if action is NOTHING:
        return model
    return Found(
        model.version,
        model.multiplier if action.multiplier is None else action.multiplier,
        later(action.valid_from, model.valid_from),
        earlier(action.valid_until, model.valid_until),
    )


def _flat(usage: Usage, action: ActionPrice, book: PriceBook, found: Found) -> Charge | Unpriceable:
    owed = rounded(action.credits(usage.quantity))
    if owed > MAX_CREDITS:
        return Unpriceable("cost_out_of_bounds", f"{plain(owed)} credits are more than an event can hold")
    stated = None if usage.api_cost is None else trimmed(usage.api_cost)
    return _charge(owed, stated, "action", book, replace(found, multiplier=_ONE))


def _metered(usage: Usage, rates: Rates, source: CostSource, book: PriceBook, found: Found) -> Charge | Unpriceable:
    if usage.cache_read_tokens + usage.cache_write_tokens > usage.input_tokens:
        return Unpriceable("inconsistent_tokens", "the cached tokens exceed the input tokens, of which they are parts")
    if usage.reasoning_tokens > usage.output_tokens:
        return Unpriceable(
            "inconsistent_tokens", "the reasoning tokens exceed the output tokens, of which they are parts"
        )
    return _costed(rates.api_cost(usage), source, book, found)


def _costed(api_cost: Decimal, source: CostSource, book: PriceBook, found: Found) -> Charge | Unpriceable:
    """Return the credits owed for this cost, trimmed."""
    if api_cost > MAX_API_COST:
        return Unpriceable("cost_out_of_bounds", f"an API cost of {plain(api_cost)} USD is more than an event can hold")
    multiplier = book.multiplier if found.multiplier is None else found.multiplier
    owed = credits_for(api_cost, book.credits_per_dollar, multiplier)
    if owed > MAX_CREDITS:
        return Unpriceable("cost_out_of_bounds", f"{plain(owed)} credits are more than an event can hold")
    return _charge(owed, api_cost, source, book, found)


def _unknown(usage: Usage, book: PriceBook, found: Found, *, dearest: bool) -> Charge | Unpriceable:
    if book.unknown_model == "unpriced":
        return _charge(ZERO, None, "unpriced", book, found)
    has_tokens = usage.input_tokens > 0 or usage.output_tokens > 0
    if book.unknown_model == "fallback" and book.fallback_rates is not None and has_tokens:
        rates = _within_reach(book.fallback_rates, usage, dearest=dearest)
        return _metered(usage, rates, "fallback", book, found)
    if usage.model is None:
        return Unpriceable("unpriced_action", f"the action {usage.action_type!r} has no price and names no model")
    at_provider = "" if usage.provider is None else f" at the provider {usage.provider!r}"
    return Unpriceable("unknown_model", f"the model {usage.model!r}{at_provider} has no price")


def _charge(
    credits_charged: Decimal, api_cost: Decimal | None, source: CostSource, book: PriceBook, found: Found
) -> Charge:
    pinned = found.version if source in ("model", "action") else None
    return Charge(
        credits_charged,
        api_cost,
        book.credits_per_dollar,
        book.multiplier if found.multiplier is None else found.multiplier,
        source,
        None if pinned is None else pinned.id,
        found.valid_from,
        found.valid_until,
    )
