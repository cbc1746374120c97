"""Prices: read, listed, set, and kept in step with the public catalogue.

Price versions are only ever appended. Whatever changes a price makes a new version of the price book in the same
transaction, holding the book's row, and every charge says under which version it was priced.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server import catalogue
from groat_server.core.credits import DECIMALS, MAX_CREDITS_PER_DOLLAR, MAX_MULTIPLIER, plain, rounded, trimmed
from groat_server.core.price_book import Kind, PriceBook, PriceVersion, Source, UnknownModelPolicy
from groat_server.core.price_changes import PriceChange, price_changes
from groat_server.core.rates import parse_action_price, parse_rates, rates_json
from groat_server.core.text import is_safe
from groat_server.errors import GroatError, Unprocessable
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, time
    from decimal import Decimal

    from groat_server.catalogue import Finding
    from groat_server.database import Connection

MODEL_LENGTH_MAX = 200
NOTE_LENGTH_MAX = 500
_ACTION = re.compile(r"[a-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of price_versions, its rates still JSON."""

    id: int
    kind: Kind
    name: str
    provider: str | None
    source: Source
    valid_from: datetime | None
    valid_to: datetime | None
    daily_from: time | None
    daily_to: time | None
    rates: Mapping[str, object]
    multiplier: Decimal | None
    note: str | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class BookRow:
    """The row of price_book."""

    version: int
    credits_per_dollar: Decimal
    multiplier: Decimal
    unknown_model: UnknownModelPolicy
    fallback_rates: Mapping[str, object] | None
    catalogue_version: str | None


@dataclass(frozen=True, slots=True)
class BookVersion:
    """The version of the price book after a change."""

    version: int


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a synchronisation appended (nothing, where the stored catalogue was the same), and what it did not trust."""

    book_version: int
    catalogue_version: str
    changes: list[PriceChange]
    findings: tuple[Finding, ...]


_LOAD_BOOK = Statement("prices/load_book", BookRow)
_LOCK_BOOK = Statement("prices/lock_book", BookRow)
_LOAD_VERSIONS = Statement("prices/load_versions", PriceRow)
_LIST = Statement("prices/list", PriceRow)
_APPEND_CATALOGUE = Statement("prices/append_catalogue", BookVersion)
_APPEND_OVERRIDE = Statement("prices/append_override", PriceRow)
_SET_PRICING = Statement("prices/set_pricing", BookRow)


async def load_book(connection: Connection) -> PriceBook:
    """Return the price book as it is stored.

    Its version is read first: prices appended in between make the book newer than it says, which the database's own
    check then calls stale, and never the reverse.
    """
    book = await _LOAD_BOOK.one(connection)
    rows = await _LOAD_VERSIONS.all(connection, source=None)
    await asyncio.to_thread(catalogue.load)
    return PriceBook(
        version=book.version,
        credits_per_dollar=book.credits_per_dollar,
        multiplier=book.multiplier,
        unknown_model=book.unknown_model,
        fallback_rates=None if book.fallback_rates is None else parse_rates(book.fallback_rates),
        versions=tuple(_version(row) for row in rows),
        identify=catalogue.identify,
    )


async def sync_catalogue(connection: Connection) -> SyncReport:
    """Append what this installation's catalogue says otherwise than the stored one; nothing where they are equal."""
    offered = await asyncio.to_thread(catalogue.catalogue)
    offered_version = catalogue.catalogue_version()
    async with connection.transaction():
        book = await _LOCK_BOOK.one(connection)
        changes = await diff_catalogue(connection)
        version = book.version
        if changes or book.catalogue_version != offered_version:
            appended = [change.after for change in changes]
            columns = _columns(appended)
            version = (await _APPEND_CATALOGUE.one(connection, catalogue_version=offered_version, **columns)).version
    return SyncReport(version, offered_version, changes, offered.findings)


async def diff_catalogue(connection: Connection) -> list[PriceChange]:
    """Return what `sync_catalogue` would append."""
    offered = await asyncio.to_thread(catalogue.catalogue)
    rows = await _LOAD_VERSIONS.all(connection, source="catalogue")
    refused = {(finding.provider, finding.model) for finding in offered.findings if finding.outcome == "refused"}
    return price_changes([_version(row) for row in rows], offered.versions, untouched=refused)


async def set_price(
    connection: Connection,
    *,
    kind: Kind,
    name: str,
    rates: Mapping[str, object],
    provider: str | None = None,
    multiplier: Decimal | None = None,
    valid_from: datetime | None = None,
    valid_to: datetime | None = None,
    note: str | None = None,
) -> PriceVersion:
    """Append a price of our own for a model or an action, from `valid_from` (now, if absent) on, and return it.

    `rates` as JSON has them (`core.rates`). Empty rates of a model leave them to the catalogue again, empty rates of an
    action to the model; a multiplier beside them applies all the same. Raises Unprocessable where the price cannot be.
    """
    price = parse_rates(rates) if kind == "model" else parse_action_price(rates)
    _check_name(kind, name, provider)
    if note is not None and (len(note) > NOTE_LENGTH_MAX or not is_safe(note, multiline=True)):
        raise Unprocessable(
            f"A note has at most {NOTE_LENGTH_MAX} characters, none of them control characters.", code="invalid_price"
        )
    multiplier = _factor("multiplier", multiplier, MAX_MULTIPLIER)
    async with connection.transaction():
        row = await _APPEND_OVERRIDE.maybe(
            connection,
            kind=kind,
            name=name,
            provider=provider,
            rates=rates_json(price),
            multiplier=multiplier,
            valid_from=valid_from,
            valid_to=valid_to,
            note=note,
        )
        if row is None:
            raise Unprocessable("A price must end after it starts.", code="invalid_price")
    return _version(row)


async def list_prices(connection: Connection, query: str | None, at: datetime, limit: int) -> list[PriceVersion]:
    """Return at most `limit` prices in force at `at`, our own first; `query` is a part of their name or provider."""
    return [_version(row) for row in await _LIST.all(connection, query=query, at=at, limit=limit)]


async def show_pricing(connection: Connection) -> BookRow:
    """Return what is common to all prices."""
    return await _LOAD_BOOK.one(connection)


async def hold_pricing(connection: Connection) -> BookRow:
    """Return what is common to all prices; until the transaction ends, nobody else sets any or appends one."""
    return await _LOCK_BOOK.one(connection)


async def set_pricing(
    connection: Connection,
    *,
    credits_per_dollar: Decimal | None = None,
    multiplier: Decimal | None = None,
    unknown_model: UnknownModelPolicy | None = None,
    fallback_rates: Mapping[str, object] | None = None,
) -> BookRow:
    """Change what is common to all prices, from now on, and return it; what is absent stays.

    Raises Unprocessable for factors out of bounds, and for the policy "fallback" without rates.
    """
    credits_per_dollar = _factor("credits_per_dollar", credits_per_dollar, MAX_CREDITS_PER_DOLLAR)
    if credits_per_dollar is not None and not credits_per_dollar:
        raise Unprocessable("credits_per_dollar must be above 0.", code="invalid_price")
    multiplier = _factor("multiplier", multiplier, MAX_MULTIPLIER)
    rates = None if fallback_rates is None else parse_rates(fallback_rates)
    if rates is not None and rates.is_empty:
        raise Unprocessable("Fallback rates need at least one rate.", code="invalid_rates")
    async with connection.transaction():
        book = await _LOCK_BOOK.one(connection)
        if (unknown_model or book.unknown_model) == "fallback" and rates is None and book.fallback_rates is None:
            raise Unprocessable('The policy "fallback" needs fallback_rates.', code="invalid_price")
        return await _SET_PRICING.one(
            connection,
            credits_per_dollar=credits_per_dollar,
            multiplier=multiplier,
            unknown_model=unknown_model,
            fallback_rates=None if rates is None else rates_json(rates),
        )


def _version(row: PriceRow) -> PriceVersion:
    try:
        rates = parse_rates(row.rates) if row.kind == "model" else parse_action_price(row.rates)
    except Unprocessable as error:  # somebody wrote to the table by hand
        raise GroatError(f"Price version {row.id} cannot be read: {error.detail}.", code="unreadable_price") from error
    return PriceVersion(
        id=row.id,
        kind=row.kind,
        name=row.name,
        provider=row.provider,
        source=row.source,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        daily_from=row.daily_from,
        daily_to=row.daily_to,
        rates=rates,
        multiplier=row.multiplier,
        note=row.note,
        recorded_at=row.recorded_at,
    )


def _columns(versions: Sequence[PriceVersion]) -> dict[str, object]:
    return {
        "names": [version.name for version in versions],
        "providers": [version.provider for version in versions],
        "valid_froms": [version.valid_from for version in versions],
        "valid_tos": [version.valid_to for version in versions],
        "daily_froms": [version.daily_from for version in versions],
        "daily_tos": [version.daily_to for version in versions],
        "rates": [rates_json(version.rates) for version in versions],
    }


def _check_name(kind: Kind, name: str, provider: str | None) -> None:
    if kind == "action":
        if not _ACTION.fullmatch(name):
            raise Unprocessable("An action type is 1 to 64 of a-z, 0-9 and _.:-", code="invalid_price")
        if provider is not None:
            raise Unprocessable("An action has no provider.", code="invalid_price")
        return
    for text in (name, provider):
        if text is not None and not (0 < len(text) <= MODEL_LENGTH_MAX and is_safe(text)):
            raise Unprocessable(
                f"A model and a provider have 1 to {MODEL_LENGTH_MAX} characters, none of them control characters.",
                code="invalid_price",
            )


def _factor(name: str, factor: Decimal | None, most: Decimal) -> Decimal | None:
    if factor is None:
        return None
    if not factor.is_finite() or not 0 <= factor <= most or rounded(factor) != factor:
        raise Unprocessable(f"{name} is 0 to {plain(most)} with at most {DECIMALS} decimals.", code="invalid_price")
    return trimmed(factor)
