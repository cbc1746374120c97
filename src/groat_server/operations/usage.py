"""Charging: usage in, receipts out. Batch is the primitive; one charge is a batch of one.

The price is worked out here, in memory; whether it is still in force, whether the key is new and whether the credits
suffice is decided by `charge_batch` in the database, under the balances' locks, in one round trip. Live charges go
through the process's batcher (`operations.batching`), which calls `Booker`, as everybody does who charges.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from psycopg import DatabaseError, OperationalError
from psycopg.errors import DeadlockDetected, LockNotAvailable, QueryCanceled, SerializationFailure

from groat_server.core.credits import Amount
from groat_server.core.outcomes import Outcome
from groat_server.core.price_book import earlier, later
from groat_server.core.pricing import Charge, Unpriceable, price
from groat_server.core.rows import ActionName, ChargeRow
from groat_server.database import DETAIL_UNKNOWN, RETRY_AFTER, write_json
from groat_server.errors import Busy
from groat_server.operations.arrays import amounts, counts, factors, flags, numbers, texts, times
from groat_server.operations.wire import Wire
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from groat_server.core.price_book import PriceBook, PriceVersion
    from groat_server.core.pricing import CostSource
    from groat_server.core.usage import Usage
    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger

BATCH_MAX = 1000
_PRICING_ATTEMPTS = 5
_ROUTE = "0"  # plain PostgreSQL is one shard

_CHARGE_BATCH = Statement("usage/charge_batch", ChargeRow)
_CHARGE_BATCH_AT = Statement("usage/charge_batch_at", ChargeRow)
_CHARGE_ONE = Statement("usage/charge_one", ChargeRow)
_CHARGE_ONE_AT = Statement("usage/charge_one_at", ChargeRow)
_REGISTER_ACTION_TYPES = Statement("usage/register_action_types", ActionName)

_ROLLED_BACK = (LockNotAvailable, DeadlockDetected, QueryCanceled, SerializationFailure)
"""After these nothing is booked, surely."""

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_AS_GIVEN = attrgetter(
    "idempotency_key", "action_type", "model", "provider", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "reasoning_tokens", "quantity", "api_cost", "occurred_at", "enforce", "backfill",
    "description", "session_id", "metadata", "hold_id", "user_id",
)  # fmt: skip
_AS_PRICED = attrgetter("api_cost", "credits_per_dollar", "multiplier", "credits_charged", "cost_source", "price_id")
_NO_PRICE = (None,) * 6
_BOOKED = {Outcome.RECORDED, Outcome.REPLAYED}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Booking:
    """The event that a charge became, and the balance it left, both as they were when it was booked."""

    event_id: int
    created_at: datetime
    balance: Decimal
    available: Decimal
    version: int


@dataclass(slots=True, eq=False)
class Receipt:
    """What became of one charge.

    `charge` is what it cost: where it was booked, now or earlier, as its event has it; otherwise what it would cost, or
    None where it has no price. `version` is the price version behind it, if there is one. `answer` is what the database
    answered, as text, None where it could not; `booking` and `row` read it.
    """

    outcome: Outcome
    usage: Usage
    charge: Charge | None = None
    version: PriceVersion | None = None
    answer: tuple[Any, ...] | None = None

    @property
    def booking(self) -> Booking | None:
        """The event, booked now or earlier."""
        if self.answer is None or self.outcome not in _BOOKED:
            return None
        _, _, event_id, created_at, *_, balance, _, available, version, _, _, _, _, instant = self.answer
        if created_at is None:  # not repeated for an event that was booked now
            booked_at = self.usage.occurred_at
            at = datetime.fromisoformat(instant) if booked_at is None else booked_at.astimezone(UTC)
        else:
            at = datetime.fromisoformat(created_at)
        return Booking(event_id, at, Amount(balance), Amount(available), version)

    @property
    def is_voided(self) -> bool:
        """Whether the event was voided since."""
        return self.answer is not None and bool(self.answer[_VOIDED])

    @property
    def row(self) -> ChargeRow | None:
        """What the database answered, column by column."""
        return None if self.answer is None else ChargeRow(*map(_read, _READERS, self.answer))


_COLUMNS = _CHARGE_BATCH.columns
_VOIDED, _INSTANT = map(_COLUMNS.index, ("voided", "instant"))
_STORED = tuple(map(_COLUMNS.index, ("credits_charged", "api_cost", "credits_per_dollar", "multiplier")))
_SOURCE, _PRICE_ID = map(_COLUMNS.index, ("cost_source", "price_id"))
_AMOUNTS = {"credits_charged", "api_cost", "credits_per_dollar", "multiplier", "balance", "held", "available"}
_TIMES = {"created_at", "next_reset_at", "instant"}
_READERS = [
    Amount if name in _AMOUNTS else datetime.fromisoformat if name in _TIMES else None for name in _COLUMNS
]  # how each column's text is read


def _read(reader: Any, value: Any) -> Any:
    return value if value is None or reader is None else reader(value)


@dataclass(frozen=True, slots=True)
class Quote:
    """What one usage would cost, and the price version behind it, if there is one."""

    charge: Charge
    version: PriceVersion | None


async def charge(
    ledger: Ledger, usages: Sequence[Usage], *, at: datetime | None = None, settled: bool = False
) -> list[Receipt]:
    """Charge each usage, in order, each key once; one receipt an input, in order. Durable once it returns.

    `at` is the instant of the call, for tests and sample data; absent, it is the database's clock. `settled` is for
    history that was paid for elsewhere: each user gets an adjustment of the same sum, and no balance moves. A usage
    that errs in a way nobody foresaw harms none of the others: the batch is taken in halves until it stands alone.
    Raises Busy where too much is waiting already, and where it is unknown what became of the charges.
    """
    if at is None and not settled:
        return await ledger.batcher.charge(usages)
    async with ledger.database.write() as connection:
        return await charge_on(ledger, connection, usages, at=at, settled=settled)


async def charge_on(
    ledger: Ledger,
    connection: Connection,
    usages: Sequence[Usage],
    *,
    at: datetime | None = None,
    settled: bool = False,
    ahead: Priced | None = None,
) -> list[Receipt]:
    """Charge as `charge` does, past the batcher, on this connection, in one batch however long.

    `ahead` is what `price_ahead` has made of the usages. A connection that is lost is for the caller to see; unless
    something was booked before, that is a Busy (outcome_unknown).
    """
    booker = Booker(ledger, Wire(connection), usages, at=at, settled=settled, ahead=ahead)
    try:
        await booker.book()
    except OperationalError as error:
        if booker.has_booked:
            raise Busy(DETAIL_UNKNOWN, code="outcome_unknown", headers=RETRY_AFTER) from error
        raise
    return booker.receipts()


@dataclass(frozen=True, slots=True)
class Priced:
    """Usages as one book prices them, and as they are sent."""

    book: PriceBook
    found: Sequence[Charge | Unpriceable]
    arguments: dict[str, str | None]
    is_alone: bool = False


async def price_ahead(
    ledger: Ledger,
    connection: Connection,
    usages: Sequence[Usage],
    *,
    at: datetime | None = None,
    is_alone: bool = False,
) -> Priced:
    """Price usages by the book at hand and write them out, which charging them then need not do.

    It is what of a charge takes this process's time: to be done for one batch while the database books another. With
    `is_alone` the only one is written for `charge_one`.
    """
    await _register(ledger, connection, {usage.action_type for usage in usages})
    book = await ledger.book(connection)
    return _priced_by(book, usages, at or datetime.now(UTC), ledger.action_types, is_alone=is_alone)


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
    if not names <= ledger.action_types:
        async with ledger.database.write() as connection:
            await _register(ledger, connection, names)
    return names & ledger.action_types


async def _register(ledger: Ledger, connection: Connection, names: set[str]) -> None:
    missing = names - ledger.action_types
    if missing:
        registered = await _REGISTER_ACTION_TYPES.all(connection, names=sorted(missing))
        ledger.action_types.update(row.name for row in registered)


class Booker:
    """Books usages on a wire, and knows what has become of each, also where it is interrupted.

    `found` has a receipt for each usage that was answered. `waits` lets the call wait for balances that somebody keeps
    locked, in vain for two seconds at most; otherwise they are answered `busy` at once.
    """

    def __init__(
        self,
        ledger: Ledger,
        wire: Wire,
        usages: Sequence[Usage],
        *,
        at: datetime | None = None,
        settled: bool = False,
        waits: bool = True,
        ahead: Priced | None = None,
    ) -> None:
        self.found: list[Receipt | None] = [None] * len(usages)
        self._ledger = ledger
        self._wire = wire
        self._usages = usages
        self._at = at
        self._settled = settled
        self._waits = waits
        self._ahead = ahead
        self._locked: set[int | None] = set()

    @property
    def has_booked(self) -> bool:
        """Whether some of the usages were answered."""
        return any(receipt is not None for receipt in self.found)

    def receipts(self) -> list[Receipt]:
        """Return what became of all usages, once all are booked."""
        return [receipt for receipt in self.found if receipt is not None]

    async def book(self) -> None:
        """Book all usages in one batch or, where one of them errs, in halves until it stands alone.

        Raises OperationalError where the connection is lost, and Busy where prices do not stand still.
        """
        parts: list[Sequence[int]] = [range(len(self._usages))]
        while parts:
            part = self._unlocked(parts.pop())
            try:
                await self._book(part)
            except _ROLLED_BACK:
                for place in part:
                    self.found[place] = Receipt(Outcome.BUSY, self._usages[place])
                    self._locked.add(self._usages[place].user_id)
            except OperationalError:
                raise
            except (DatabaseError, UnicodeEncodeError):  # what one bad row does to all that are written with it
                if len(part) == 1:
                    _log.exception("a charge could not be stored")
                    self.found[part[0]] = Receipt(Outcome.FAILED, self._usages[part[0]])
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]

    def _unlocked(self, part: Sequence[int]) -> Sequence[int]:
        """Leave out whose balance a former part has found locked: charges of one user do not overtake one another."""
        if not self._locked:
            return part
        for place in part:
            if self._usages[place].user_id in self._locked:
                self.found[place] = Receipt(Outcome.BUSY, self._usages[place])
        return [place for place in part if self._usages[place].user_id not in self._locked]

    async def _book(self, part: Sequence[int]) -> None:
        """Book these usages in one transaction."""
        is_whole = len(part) == len(self._usages)
        usages = self._usages if is_whole else [self._usages[place] for place in part]
        connection = self._wire.connection
        is_alone = len(usages) == 1 and not self._settled
        priced = self._ahead if is_whole else None
        if priced is None:
            priced = await price_ahead(self._ledger, connection, usages, at=self._at, is_alone=is_alone)
        for _ in range(_PRICING_ATTEMPTS):
            rows = await self._call(priced)
            if not rows or rows[0][1] != "stale_prices":
                await self._keep(part, usages, priced.found, rows)
                return
            book = await self._ledger.newer_book(connection, priced.book)
            instant = datetime.fromisoformat(rows[0][_INSTANT])
            priced = _priced_by(book, usages, instant, self._ledger.action_types, is_alone=is_alone)
        raise Busy("Prices change faster than charges can be priced; send the same request again.")

    async def _call(self, priced: Priced) -> list[tuple[Any, ...]]:
        if priced.is_alone:
            statement = _CHARGE_ONE if self._at is None else _CHARGE_ONE_AT
        else:
            statement = _CHARGE_BATCH if self._at is None else _CHARGE_BATCH_AT
        at = None if self._at is None else self._at.isoformat()
        arguments = {**priced.arguments, "at": at, "settled": "t" if self._settled else "f"}
        if self._waits:
            try:
                return await self._wire.rows(statement.name, {**arguments, "skip_locked": "f"})
            except LockNotAvailable:
                pass  # somebody keeps a balance locked: its own user is busy, all others proceed
        return await self._wire.rows(statement.name, {**arguments, "skip_locked": "t"})

    async def _keep(
        self,
        part: Sequence[int],
        usages: Sequence[Usage],
        priced: Sequence[Charge | Unpriceable],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Keep what the database has answered."""
        versions = self._ledger.versions
        for place, usage, found, row in zip(part, usages, priced, rows, strict=True):
            outcome = _OUTCOMES[row[1]]
            charge = found if isinstance(found, Charge) else None
            if outcome is Outcome.REPLAYED:
                charge = _stored_charge(row)
            elif outcome is Outcome.BUSY:
                self._locked.add(usage.user_id)
            version = None
            if charge is not None and charge.price_id is not None:
                version = versions.get(charge.price_id)
                if version is None:
                    version = await self._ledger.price_version(self._wire.connection, charge.price_id)
            self.found[place] = Receipt(outcome, usage, charge, version, row)


def _priced_by(
    book: PriceBook, usages: Sequence[Usage], instant: datetime, known: set[str], *, is_alone: bool = False
) -> Priced:
    found = [_priced(usage, book, instant, known) for usage in usages]
    if is_alone:
        return Priced(book, found, _arguments_of_one(usages[0], found[0], book), is_alone=True)
    return Priced(book, found, _arguments(usages, found, book))


def _priced(usage: Usage, book: PriceBook, instant: datetime, known: set[str]) -> Charge | Unpriceable:
    if usage.action_type not in known:
        return Unpriceable("unknown_action_type", "")
    try:
        return price(usage, book, usage.occurred_at or instant)
    except (ArithmeticError, ValueError):
        _log.exception("a charge could not be priced")
        return _UNPRICEABLE


_UNPRICEABLE = Unpriceable(cast("Any", Outcome.FAILED.value), "")


def _arguments(
    usages: Sequence[Usage], priced: Sequence[Charge | Unpriceable], book: PriceBook
) -> dict[str, str | None]:
    priced_from: datetime | None = None
    priced_until: datetime | None = None
    refusals: list[str | None] = []
    prices: list[tuple[Any, ...]] = []
    for usage, found in zip(usages, priced, strict=True):
        if isinstance(found, Unpriceable):
            refusals.append(found.code)
            prices.append(_NO_PRICE)
            continue
        refusals.append(None)
        prices.append(_AS_PRICED(found))
        if usage.occurred_at is None and (found.valid_from is not None or found.valid_until is not None):
            priced_from = later(priced_from, found.valid_from)
            priced_until = earlier(priced_until, found.valid_until)
    (
        keys, actions, models, providers, inputs, outputs, cache_reads, cache_writes, reasonings, quantities,
        given_costs, occurred, enforced, backfills, descriptions, sessions, metadatas, holds, user_ids,
    ) = zip(*map(_AS_GIVEN, usages), strict=True) if usages else ((),) * 19  # fmt: skip
    costs, rates, multipliers, credits_, sources, price_ids = zip(*prices, strict=True) if prices else ((),) * 6
    return {
        "route": _ROUTE,
        "book_version": str(book.version),
        "priced_from": None if priced_from is None else priced_from.isoformat(),
        "priced_until": None if priced_until is None else priced_until.isoformat(),
        "user_ids": numbers(user_ids) or _nobodies(len(usages)),
        "keys": texts(keys),
        "actions": texts(actions),
        "models": texts(models),
        "providers": texts(providers),
        "inputs": numbers(inputs),
        "outputs": numbers(outputs),
        "cache_reads": counts(cache_reads),
        "cache_writes": counts(cache_writes),
        "reasonings": counts(reasonings),
        "quantities": amounts(quantities),
        "given_costs": amounts(given_costs),
        "occurred": times(occurred),
        "enforced": flags(enforced),
        "backfills": flags(backfills),
        "refusals": texts(refusals),
        "costs": amounts(costs),
        "rates": factors(rates),
        "multipliers": factors(multipliers),
        "credits": amounts(credits_),
        "sources": texts(sources),
        "prices": numbers(price_ids),
        "descriptions": texts(descriptions),
        "sessions": texts(sessions),
        "metadatas": texts([None if each is None else write_json(each).decode() for each in metadatas]),
        "holds": numbers(holds),
    }


def _arguments_of_one(usage: Usage, found: Charge | Unpriceable, book: PriceBook) -> dict[str, str | None]:
    charge = found if isinstance(found, Charge) else None
    cost, rate, multiplier, credits_, source, price_id = _NO_PRICE if charge is None else _AS_PRICED(charge)
    present = charge if usage.occurred_at is None else None
    return {
        "route": _ROUTE,
        "book_version": str(book.version),
        "priced_from": None if present is None else _text(present.valid_from),
        "priced_until": None if present is None else _text(present.valid_until),
        "user_id": _text(usage.user_id),
        "key": usage.idempotency_key,
        "action": usage.action_type,
        "model": usage.model,
        "provider": usage.provider,
        "input": str(usage.input_tokens),
        "output": str(usage.output_tokens),
        "cache_read": str(usage.cache_read_tokens),
        "cache_write": str(usage.cache_write_tokens),
        "reasoning": str(usage.reasoning_tokens),
        "quantity": _text(usage.quantity),
        "given_cost": _text(usage.api_cost),
        "occurred": _text(usage.occurred_at),
        "enforced": "t" if usage.enforce else "f",
        "backfill": "t" if usage.backfill else "f",
        "refusal": found.code if isinstance(found, Unpriceable) else None,
        "cost": _text(cost),
        "rate": _text(rate),
        "multiplier": _text(multiplier),
        "credits": _text(credits_),
        "source": source,
        "price": _text(price_id),
        "description": usage.description,
        "session": usage.session_id,
        "metadata": None if usage.metadata is None else write_json(usage.metadata).decode(),
        "hold": _text(usage.hold_id),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _nobodies(count: int) -> str:
    """Write user ids none of which is known: their number is that of the charges."""
    return f"{{{','.join(['NULL'] * count)}}}"


def _stored_charge(row: tuple[Any, ...]) -> Charge:
    """Return what an event was charged, from its stored columns."""
    owed, cost, rate, by = (row[column] for column in _STORED)
    source = cast("CostSource", row[_SOURCE])
    stated = None if cost is None else Amount(cost)
    return Charge(Amount(owed), stated, Amount(rate), Amount(by), source, row[_PRICE_ID], None, None)
