"""Holds: credits set aside before a use, then captured by its charge, or released.

What a hold is worth is worked out here; whether the credits are there is decided in the database, under the balance's
lock, as for a charge.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psycopg.errors import NotNullViolation
from psycopg.types.json import Jsonb

from groat_server.core.credits import plain
from groat_server.core.outcomes import OperationOutcome
from groat_server.core.pricing import Charge, Unpriceable, price
from groat_server.core.rows import HoldOperationRow, HoldRow
from groat_server.core.usage import Usage
from groat_server.errors import NotFound
from groat_server.operations.booking import booking
from groat_server.operations.usage import Receipt, register_action_types
from groat_server.sql import Statement

if TYPE_CHECKING:
    from decimal import Decimal

    from groat_server.core.holds import HoldName
    from groat_server.core.price_book import PriceVersion
    from groat_server.database import Connection
    from groat_server.operations.batching import Bearer
    from groat_server.operations.ledger import Ledger

_PLACE = Statement("holds/place", HoldOperationRow)
_RENEW = Statement("holds/renew", HoldOperationRow)
_RELEASE = Statement("holds/release", HoldOperationRow)
_SHOW = Statement("holds/show", HoldRow)
_LIST = Statement("holds/list", HoldRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHold:
    """What is to be set aside: so many credits or, with `amount` None, what the use described can cost at most.

    The use has at most `input_tokens` and `max_output_tokens`, whatever of them is cached or reasoning.
    """

    user_id: int
    idempotency_key: str
    seconds: int
    amount: Decimal | None = None
    action_type: str | None = None
    model: str | None = None
    provider: str | None = None
    input_tokens: int = 0
    max_output_tokens: int = 0
    quantity: Decimal | None = None
    description: str | None = None

    def content(self) -> dict[str, object]:
        """Return what a repeat under the same key has to agree with."""
        said = {
            "amount": None if self.amount is None else plain(self.amount),
            "seconds": self.seconds,
            "action_type": self.action_type,
            "model": self.model,
            "provider": self.provider,
            "input_tokens": self.input_tokens,
            "max_output_tokens": self.max_output_tokens,
            "quantity": None if self.quantity is None else plain(self.quantity),
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of a hold that was asked for. `charge` and `version` priced it, None where its amount was given.

    `charge` is None as well where the use has no price, which a user in demo mode need not care about.
    """

    outcome: OperationOutcome
    asked: NewHold
    row: HoldOperationRow
    charge: Charge | None
    version: PriceVersion | None

    @property
    def amount(self) -> Decimal | None:
        """The credits to set aside."""
        return self.asked.amount if self.charge is None else self.charge.credits_charged


@dataclass(frozen=True, slots=True)
class Capture:
    """A charge that captures a hold, and that hold, None where there is no such hold."""

    receipt: Receipt
    hold: HoldRow | None


async def place_hold(ledger: Ledger, asked: NewHold) -> Placement | Unpriceable:
    """Set credits aside, once under the key, refused where they are not available."""
    unpriceable = await _unregistered(ledger, asked)
    async with booking(ledger, asked.user_id) as connection:
        priced = unpriceable or await _priced(ledger, connection, asked)
        charge_ = priced if isinstance(priced, Charge) else None
        amount = asked.amount if charge_ is None else charge_.credits_charged
        try:
            row = await _PLACE.one(
                connection,
                user_id=asked.user_id,
                key=asked.idempotency_key,
                amount=None if isinstance(priced, Unpriceable) else amount,
                seconds=asked.seconds,
                action_type=asked.action_type,
                model=asked.model,
                description=asked.description,
                content=Jsonb(asked.content()),
            )
        except NotNullViolation:
            # What has no price cannot be stored; who is in demo mode, or repeats a key, was answered all the same.
            if isinstance(priced, Unpriceable):
                return priced
            raise
        version = await ledger.price_version(connection, charge_.price_id) if charge_ else None
    return Placement(OperationOutcome(row.outcome), asked, row, charge_, version)


async def capture_hold(ledger: Ledger, usage: Usage, *, bearer: Bearer | None = None) -> Capture:
    """Charge a use to the hold that it names: in full, whatever was set aside, and whatever became of the hold.

    `bearer` is verified with the charge; it raises what `Batcher.charge` raises.
    """
    async with ledger.database.write() as connection:
        hold = await _SHOW.maybe(connection, user_id=usage.user_id, hold_id=usage.hold_id)
    (receipt,) = await ledger.batcher.charge([usage], bearer=bearer)
    return Capture(receipt, hold)


async def renew_hold(ledger: Ledger, name: HoldName, *, seconds: int) -> HoldOperationRow:
    """Let an open hold last `seconds` from now where that is longer, up to seven days in all."""
    async with booking(ledger, name.user_id) as connection:
        return await _RENEW.one(connection, user_id=name.user_id, hold_id=name.hold_id, seconds=seconds)


async def release_hold(ledger: Ledger, name: HoldName) -> HoldOperationRow:
    """Let a hold go; one that is gone already, released or expired, is answered the same."""
    async with booking(ledger, name.user_id) as connection:
        return await _RELEASE.one(connection, user_id=name.user_id, hold_id=name.hold_id)


async def show_hold(ledger: Ledger, name: HoldName) -> HoldRow:
    """Show a hold as of now. Raises NotFound (unknown_hold)."""
    async with ledger.database.read() as connection:
        hold = await _SHOW.maybe(connection, user_id=name.user_id, hold_id=name.hold_id)
    if hold is None:
        raise NotFound("There is no such hold.", code="unknown_hold")
    return hold


async def list_holds(
    ledger: Ledger, user_id: int, *, state: str | None = None, before_id: int | None = None, limit: int = 50
) -> list[HoldRow]:
    """List a user's holds as of now, newest first, from the one before `before_id`; with `state`, those in it."""
    async with ledger.database.read() as connection:
        return await _LIST.all(connection, user_id=user_id, state=state, before_id=before_id, limit=limit)


async def _unregistered(ledger: Ledger, asked: NewHold) -> Unpriceable | None:
    if asked.action_type is None or await register_action_types(ledger, {asked.action_type}):
        return None
    return Unpriceable("unknown_action_type", "This action type is not registered, and no more are taken.")


async def _priced(ledger: Ledger, connection: Connection, asked: NewHold) -> Charge | Unpriceable | None:
    """Return the most that the use can cost at the prices of now, or None where the amount is given."""
    if asked.amount is not None or asked.action_type is None:
        return None
    usage = Usage(
        user_id=asked.user_id,
        idempotency_key=asked.idempotency_key,
        action_type=asked.action_type,
        model=asked.model,
        provider=asked.provider,
        input_tokens=asked.input_tokens,
        output_tokens=asked.max_output_tokens,
        quantity=asked.quantity,
    )
    priced = price(usage, await ledger.current_book(connection), datetime.now(UTC), dearest=True)
    if isinstance(priced, Charge) and priced.cost_source == "unpriced":
        return Unpriceable(
            "unpriced_action" if asked.model is None else "unknown_model",
            "No price is known for this use: say how many credits to hold, in `amount`.",
        )
    return priced
