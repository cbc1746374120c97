"""A price list in a file, and the price book that there would be with it. Nothing of it is ever stored.

The file is JSON: a list of prices, or an object with `prices` and, as needed, `credits_per_dollar` and `multiplier`. A
price has the columns of `price_versions`: `kind` (`model` or `action`), `name`, `rates`, and as needed `provider`,
`multiplier`, `valid_from`, `valid_to`, `note`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from groat_server.core import values
from groat_server.core.credits import MAX_CREDITS_PER_DOLLAR, MAX_MULTIPLIER
from groat_server.core.price_book import PriceVersion
from groat_server.core.rates import parse_action_price, parse_rates
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from decimal import Decimal

    from groat_server.core.price_book import PriceBook

Value = TypeVar("Value")

MODEL_LENGTH_MAX = 200
_NOTE_LENGTH_MAX = 500
_BOOK_FIELDS = frozenset({"prices", "credits_per_dollar", "multiplier"})
_PRICE_FIELDS = frozenset({"kind", "name", "provider", "rates", "multiplier", "valid_from", "valid_to", "note"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """What is to be other than in the price book as it is; what is None stays."""

    prices: tuple[PriceVersion, ...] = ()
    credits_per_dollar: Decimal | None = None
    multiplier: Decimal | None = None

    def with_factors(self, *, credits_per_dollar: Decimal | None, multiplier: Decimal | None) -> PriceList:
        """Return the list with these factors; None leaves its own."""
        return replace(
            self,
            credits_per_dollar=self.credits_per_dollar if credits_per_dollar is None else credits_per_dollar,
            multiplier=self.multiplier if multiplier is None else multiplier,
        )

    def applied_to(self, book: PriceBook) -> PriceBook:
        """Return `book` with these factors and prices.

        The prices take the place of all of our own for the same model and provider, or the same action, whenever those
        held. All others stay.
        """
        replaced = {(price.kind, price.name, price.provider) for price in self.prices}
        kept = tuple(
            version
            for version in book.versions
            if version.source != "override" or (version.kind, version.name, version.provider) not in replaced
        )
        newest = max((version.id for version in book.versions), default=0)
        listed = (replace(price, id=newest + place) for place, price in enumerate(self.prices, 1))
        return replace(
            book,
            versions=(*kept, *listed),
            credits_per_dollar=book.credits_per_dollar if self.credits_per_dollar is None else self.credits_per_dollar,
            multiplier=book.multiplier if self.multiplier is None else self.multiplier,
        )


def parse_price_list(text: str) -> PriceList:
    """Return the price list that a JSON text states. Raises Unprocessable (`bad_price_list`), and says which price."""
    try:
        stated = values.strict_json(text)
        document = _checked({"prices": stated} if isinstance(stated, list) else stated, _BOOK_FIELDS)
    except ValueError as error:
        raise _bad("The price list", error) from error
    listed = document.get("prices", [])
    if not isinstance(listed, list):
        raise _bad("The price list", ValueError("must have a list of prices"))
    return PriceList(
        prices=tuple(_price(place, price) for place, price in enumerate(listed, 1)),
        credits_per_dollar=credits_per_dollar_of(document.get("credits_per_dollar")),
        multiplier=multiplier_of(document.get("multiplier")),
    )


def credits_per_dollar_of(value: object) -> Decimal | None:
    """Return the credits for one USD, absent where they are. Raises Unprocessable."""
    try:
        return _optional(value, lambda given: values.moved_amount(given, most=MAX_CREDITS_PER_DOLLAR))
    except ValueError as error:
        raise _bad("credits_per_dollar", error) from error


def multiplier_of(value: object) -> Decimal | None:
    """Return the multiplier, absent where it is. Raises Unprocessable."""
    try:
        return _optional(value, lambda given: values.amount(given, most=MAX_MULTIPLIER))
    except ValueError as error:
        raise _bad("multiplier", error) from error


def _price(place: int, price: object) -> PriceVersion:
    try:
        return _version(_checked(price, _PRICE_FIELDS))
    except ValueError as error:
        raise _bad(f"Price {place} of the list", error) from error
    except Unprocessable as error:
        raise _bad(f"Price {place} of the list", ValueError(f"cannot be: {error.detail}")) from error


def _version(price: Mapping[str, Any]) -> PriceVersion:
    kind, rates = price.get("kind"), price.get("rates", {})
    if kind not in ("model", "action"):
        raise ValueError('must have the kind "model" or "action"')
    if not isinstance(rates, Mapping):
        raise ValueError("must have an object of rates")  # noqa: TRY004 - every refusal is a ValueError
    if kind == "action" and price.get("provider") is not None:
        raise ValueError("must not have a provider: it is an action's")
    since, until = (_optional(price.get(name), values.instant) for name in ("valid_from", "valid_to"))
    if since is not None and until is not None and until <= since:
        raise ValueError("must end after it starts")
    return PriceVersion(
        id=0,
        kind=kind,
        name=values.action_type(price.get("name")) if kind == "action" else _name(price.get("name")),
        provider=_optional(price.get("provider"), _name),
        source="override",
        valid_from=since,
        valid_to=until,
        rates=parse_rates(rates) if kind == "model" else parse_action_price(rates),
        multiplier=_optional(price.get("multiplier"), lambda given: values.amount(given, most=MAX_MULTIPLIER)),
        note=_optional(price.get("note"), lambda given: values.text(given, longest=_NOTE_LENGTH_MAX, multiline=True)),
    )


def _name(value: object) -> str:
    return values.text(value, longest=MODEL_LENGTH_MAX)


def _optional(value: object, rule: Callable[[object], Value]) -> Value | None:
    return None if value is None else rule(value)


def _checked(document: object, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise ValueError("must be an object")  # noqa: TRY004 - every refusal is a ValueError
    if unknown := sorted(document.keys() - known):
        raise ValueError(f"must not have {unknown[0]!r}; it may have {', '.join(sorted(known))}")
    return document


def _bad(subject: str, error: ValueError) -> Unprocessable:
    return Unprocessable(f"{subject} {error}.", code="bad_price_list")
