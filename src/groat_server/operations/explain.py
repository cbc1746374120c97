"""Why an event was charged what it was: from its stored factors and the price version that it pins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.core.credits import EXACT, trimmed
from groat_server.core.rates import ActionPrice, Component, Rates
from groat_server.core.rows import EntryRow, ExplainedEventRow, LotDraw
from groat_server.core.usage import Usage
from groat_server.errors import NotFound
from groat_server.operations.accounts import settle
from groat_server.sql import Statement

if TYPE_CHECKING:
    from decimal import Decimal

    from groat_server.core.price_book import PriceBook, PriceVersion
    from groat_server.operations.ledger import Ledger

_EVENT = Statement("explain/event", ExplainedEventRow)
_LOTS = Statement("explain/lots", LotDraw)
_REFUNDS = Statement("explain/refunds", EntryRow)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One event, and how its price came about.

    `components` are what `api_cost` adds up to; there are none where the caller gave the cost, where the action has a
    price of its own (`flat`), and where the fallback rates of the time are not those of now. `exact` are the credits
    before they were rounded to what was charged. `lots` say where the credits came from, in order.
    """

    event: ExplainedEventRow
    version: PriceVersion | None
    components: list[Component]
    flat: ActionPrice | None
    exact: Decimal
    lots: list[LotDraw]
    refunds: list[EntryRow]

    @property
    def refunded(self) -> Decimal:
        """The credits given back so far."""
        total = EXACT.create_decimal(0)
        for refund in self.refunds:
            total = EXACT.add(total, refund.amount)
        return trimmed(total)


async def explain_event(ledger: Ledger, user_id: int, event_id: int) -> Explanation:
    """Explain one event of a user, a voided one too. Raises NotFound (unknown_event)."""
    await settle(ledger, user_id)
    async with ledger.database.write() as connection:
        book = await ledger.current_book(connection)
    async with ledger.database.snapshot() as connection:
        named = {"user_id": user_id, "event_id": event_id}
        event = await _EVENT.maybe(connection, **named)
        if event is None:
            raise NotFound("This user has no such event.", code="unknown_event")
        version = await ledger.price_version(connection, event.price_id)
        lots = await _LOTS.all(connection, **named)
        refunds = await _REFUNDS.all(connection, **named)
    flat = version.rates if version is not None and isinstance(version.rates, ActionPrice) else None
    return Explanation(event, version, components(event, version, book), flat, _exact(event, flat), lots, refunds)


def components(event: ExplainedEventRow, version: PriceVersion | None, book: PriceBook) -> list[Component]:
    """Return the parts of an event's API cost, by the code that charges price with; none where they are not known."""
    rates = version.rates if version is not None else book.fallback_rates if event.cost_source == "fallback" else None
    if not isinstance(rates, Rates):
        return []
    parts = rates.components(_usage(event))
    # The rates of a price version never change; the fallback rates may have, since they are not pinned.
    return parts if rates.api_cost(_usage(event)) == event.api_cost else []


def _exact(event: ExplainedEventRow, flat: ActionPrice | None) -> Decimal:
    if flat is not None:
        return trimmed(flat.credits(event.quantity))
    if event.api_cost is None:
        return event.credits_charged
    return trimmed(EXACT.multiply(EXACT.multiply(event.api_cost, event.credits_per_dollar), event.multiplier))


def _usage(event: ExplainedEventRow) -> Usage:
    return Usage(
        user_id=None,
        idempotency_key=event.idempotency_key,
        action_type=event.action_type,
        model=event.model,
        provider=event.provider,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        cache_read_tokens=event.cache_read_tokens,
        cache_write_tokens=event.cache_write_tokens,
        reasoning_tokens=event.reasoning_tokens,
        quantity=event.quantity,
    )
