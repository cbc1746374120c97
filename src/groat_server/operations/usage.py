"""Charging: usage in, receipts out. Batch is the primitive; one charge is a batch of one.

The price is worked out here, in memory; whether it is still in force, whether the key is new and whether the credits
suffice is decided by `charge_batch` in the database, under the balances' locks, in one round trip.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from psycopg import DataError, IntegrityError, InternalError, NotSupportedError, OperationalError, ProgrammingError
from psycopg.errors import LockNotAvailable
from psycopg.types.json import Jsonb

from groat_server.core.outcomes import Outcome
from groat_server.core.price_book import earlier, later
from groat_server.core.pricing import Charge, Unpriceable, price
from groat_server.core.rows import ActionName, ChargeRow
from groat_server.database import DETAIL_UNKNOWN, RETRY_AFTER
from groat_server.errors import Busy
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from groat_server.core.price_book import PriceBook, PriceVersion
    from groat_server.core.pricing import CostSource
    from groat_server.core.usage import Usage
    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger

BATCH_MAX = 1000
_PRICING_ATTEMPTS = 5
_ROUTE = 0  # plain PostgreSQL is one shard

_CHARGE_BATCH = Statement("usage/charge_batch", ChargeRow)
_CHARGE_BATCH_AT = Statement("usage/charge_batch_at", ChargeRow)
_REGISTER_ACTION_TYPES = Statement("usage/register_action_types", ActionName)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Booking:
    """The event that a charge became, and the balance it left, both as they were when it was booked."""

    event_id: int
    created_at: datetime
    balance: Decimal
    available: Decimal
    version: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one charge.

    `booking` is the event, booked now or earlier. `charge` is then what it cost, from the event's stored columns;
    otherwise what it would cost, or None where it has no price. `version` is the price version behind it, if there is
    one. `row` is what the database answered, None where it could not.
    """

    outcome: Outcome
    usage: Usage
    charge: Charge | None
    version: PriceVersion | None
    booking: Booking | None
    row: ChargeRow | None


@dataclass(frozen=True, slots=True)
class Quote:
    """What one usage would cost, and the price version behind it, if there is one."""

    charge: Charge
    version: PriceVersion | None


@dataclass(frozen=True, slots=True)
class _Call:
    """What holds for all usages of a call: the action types that may be charged, its instant, whether it is settled."""

    known: set[str]
    at: datetime | None
    settled: bool


async def charge(
    ledger: Ledger, usages: Sequence[Usage], *, at: datetime | None = None, settled: bool = False
) -> list[Receipt]:
    """Charge each usage, in order, each key once; one receipt an input, in order. Durable once it returns.

    `at` is the instant of the call, for tests and sample data; absent, it is the database's clock. `settled` is for
    history that was paid for elsewhere: each user gets an adjustment of the same sum, and no balance moves. A usage
    that errs in a way nobody foresaw harms none of the others: the batch is taken in halves until it stands alone.
    """
    known = await register_action_types(ledger, {usage.action_type for usage in usages})
    async with ledger.turn({usage.user_id for usage in usages}), ledger.database.write() as connection:
        return await _charge(ledger, connection, usages, _Call(known, at, settled))


async def estimate(ledger: Ledger, usage: Usage) -> Quote | Unpriceable:
    """Price one usage without charging it, by the local clock."""
    async with ledger.database.read() as connection:
        book = await ledger.current_book(connection)
        priced = price(usage, book, usage.occurred_at or datetime.now(UTC))
        if isinstance(priced, Unpriceable):
            return priced
        return Quote(priced, await ledger.price_version(connection, priced.price_id))


async def register_action_types(ledger: Ledger, names: set[str]) -> set[str]:
    """Return those of `names` that may be charged, new ones registered on the way."""
    missing = names - ledger.action_types
    if missing:
        async with ledger.database.write() as connection:
            registered = await _REGISTER_ACTION_TYPES.all(connection, names=sorted(missing))
        ledger.action_types.update(row.name for row in registered)
    return names & ledger.action_types


async def _charge(ledger: Ledger, connection: Connection, usages: Sequence[Usage], call: _Call) -> list[Receipt]:
    try:
        return await _charge_priced(ledger, connection, usages, call)
    except (DataError, IntegrityError, InternalError, NotSupportedError, ProgrammingError, UnicodeEncodeError):
        if len(usages) == 1:
            _log.exception("a charge could not be stored")
            return [Receipt(Outcome.FAILED, usages[0], None, None, None, None)]
        return await _charge_in_halves(ledger, connection, usages, call)


async def _charge_in_halves(
    ledger: Ledger, connection: Connection, usages: Sequence[Usage], call: _Call
) -> list[Receipt]:
    middle = len(usages) // 2
    first = await _charge(ledger, connection, usages[:middle], call)
    try:
        return first + await _charge(ledger, connection, usages[middle:], call)
    except OperationalError as error:
        # Not simply busy: the first half is booked.
        raise Busy(DETAIL_UNKNOWN, code="outcome_unknown", headers=RETRY_AFTER) from error


async def _charge_priced(ledger: Ledger, connection: Connection, usages: Sequence[Usage], call: _Call) -> list[Receipt]:
    book = await ledger.book(connection)
    instant = call.at or datetime.now(UTC)
    for _ in range(_PRICING_ATTEMPTS):
        priced = [
            price(usage, book, usage.occurred_at or instant)
            if usage.action_type in call.known
            else Unpriceable("unknown_action_type", "")
            for usage in usages
        ]
        rows = await _call(ledger, connection, usages, _arguments(usages, priced, book, call), call.at)
        if not rows or rows[0].outcome != "stale_prices":
            return [
                await _receipt(ledger, connection, usage, found, row)
                for usage, found, row in zip(usages, priced, rows, strict=True)
            ]
        book = await ledger.newer_book(connection, book)
        instant = rows[0].instant
    raise Busy("Prices change faster than charges can be priced; send the same request again.")


async def _call(
    ledger: Ledger,
    connection: Connection,
    usages: Sequence[Usage],
    arguments: Mapping[str, object],
    at: datetime | None,
) -> list[ChargeRow]:
    async def once(*, skip_locked: bool) -> list[ChargeRow]:
        if at is not None:
            return await _CHARGE_BATCH_AT.all(connection, at=at, skip_locked=skip_locked, **arguments)
        return await _CHARGE_BATCH.all(connection, skip_locked=skip_locked, **arguments)

    if ledger.is_locked({usage.user_id for usage in usages}):
        return await once(skip_locked=True)
    try:
        return await once(skip_locked=False)
    except LockNotAvailable:
        # Somebody keeps a balance locked: its own user waits, all others proceed.
        rows = await once(skip_locked=True)
    ledger.note_locked(
        {usage.user_id for usage, row in zip(usages, rows, strict=True) if row.outcome == Outcome.BUSY.value}
    )
    return rows


def _arguments(
    usages: Sequence[Usage], priced: Sequence[Charge | Unpriceable], book: PriceBook, call: _Call
) -> dict[str, object]:
    charges = [found if isinstance(found, Charge) else None for found in priced]
    priced_from: datetime | None = None
    priced_until: datetime | None = None
    for usage, found in zip(usages, charges, strict=True):
        if found is not None and usage.occurred_at is None:
            priced_from = later(priced_from, found.valid_from)
            priced_until = earlier(priced_until, found.valid_until)
    return {
        "route": _ROUTE,
        "book_version": book.version,
        "priced_from": priced_from,
        "priced_until": priced_until,
        "user_ids": [usage.user_id for usage in usages],
        "keys": [usage.idempotency_key for usage in usages],
        "actions": [usage.action_type for usage in usages],
        "models": [usage.model for usage in usages],
        "providers": [usage.provider for usage in usages],
        "inputs": [usage.input_tokens for usage in usages],
        "outputs": [usage.output_tokens for usage in usages],
        "cache_reads": [usage.cache_read_tokens for usage in usages],
        "cache_writes": [usage.cache_write_tokens for usage in usages],
        "reasonings": [usage.reasoning_tokens for usage in usages],
        "quantities": [usage.quantity for usage in usages],
        "given_costs": [usage.api_cost for usage in usages],
        "occurred": [usage.occurred_at for usage in usages],
        "enforced": [usage.enforce for usage in usages],
        "backfills": [usage.backfill for usage in usages],
        "refusals": [None if isinstance(found, Charge) else found.code for found in priced],
        "costs": [found and found.api_cost for found in charges],
        "rates": [found and found.credits_per_dollar for found in charges],
        "multipliers": [found and found.multiplier for found in charges],
        "credits": [found and found.credits_charged for found in charges],
        "sources": [found and found.cost_source for found in charges],
        "prices": [found and found.price_id for found in charges],
        "descriptions": [usage.description for usage in usages],
        "sessions": [usage.session_id for usage in usages],
        "metadatas": [None if usage.metadata is None else Jsonb(usage.metadata) for usage in usages],
        "holds": [usage.hold_id for usage in usages],
        "settled": call.settled,
    }


async def _receipt(
    ledger: Ledger, connection: Connection, usage: Usage, priced: Charge | Unpriceable, row: ChargeRow
) -> Receipt:
    stored = _stored_charge(row) or (priced if isinstance(priced, Charge) else None)
    version = await ledger.price_version(connection, stored.price_id) if stored else None
    return Receipt(Outcome(row.outcome), usage, stored, version, _booking(row), row)


def _stored_charge(row: ChargeRow) -> Charge | None:
    match row:
        case ChargeRow(
            credits_charged=Decimal() as credits, credits_per_dollar=Decimal() as rate, multiplier=Decimal() as by
        ):
            source = cast("CostSource", row.cost_source)
            return Charge(credits, row.api_cost, rate, by, source, row.price_id, None, None)
        case _:
            return None


def _booking(row: ChargeRow) -> Booking | None:
    match row:
        case ChargeRow(
            event_id=int(event_id),
            created_at=datetime() as created_at,
            balance=Decimal() as balance,
            available=Decimal() as available,
            version=int(version),
        ):
            return Booking(event_id, created_at, balance, available, version)
        case _:
            return None
