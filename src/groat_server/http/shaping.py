"""From rows to shapes: the only place where what an operation returns becomes what the wire says."""

from __future__ import annotations

import base64
import json
from dataclasses import fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from groat_server.core.outcomes import DETAILS, Outcome
from groat_server.core.rates import rates_json
from groat_server.core.text import is_safe
from groat_server.errors import (
    Busy,
    Conflict,
    GroatError,
    InsufficientCredits,
    NotFound,
    Unprocessable,
)
from groat_server.http.shapes import (
    BalanceShape,
    PersonShape,
    PriceShape,
    ReceiptShape,
    UntrackedShape,
    UserShape,
)

if TYPE_CHECKING:
    from groat_server.core.price_book import PriceVersion
    from groat_server.core.pricing import Charge
    from groat_server.core.rows import UserRow
    from groat_server.operations.usage import Receipt

Shape = TypeVar("Shape")

_CURSOR_DIGITS_MAX = 40
_REFUSALS: dict[Outcome, type[GroatError]] = {
    Outcome.UNKNOWN_USER: NotFound,
    Outcome.BUSY: Busy,
    Outcome.IDEMPOTENCY_CONFLICT: Conflict,
    Outcome.UNKNOWN_HOLD: NotFound,
    Outcome.HOLD_CAPTURED: Conflict,
    Outcome.FAILED: GroatError,
}


def shaped(shape: type[Shape], row: object, **members: object) -> Shape:
    """Return the shape whose fields are these members and else the row's columns of the same names."""
    names = {field.name for field in fields(shape)} - members.keys()  # type: ignore[arg-type] # shapes are dataclasses
    return shape(**{name: getattr(row, name) for name in names}, **members)


def price_shape(charge: Charge, version: PriceVersion | None, model: str | None) -> PriceShape:
    """Return what priced a charge of `model` (as requested)."""
    is_model = version is not None and version.kind == "model"
    return PriceShape(
        cost_source=charge.cost_source,
        credits_per_dollar=charge.credits_per_dollar,
        multiplier=charge.multiplier,
        version=charge.price_id,
        source=version.source if version else None,
        provider=version.provider if version else None,
        model=version.name if version and is_model else None,
        matched=("exact" if version.name == model else "alias") if version and is_model else None,
        valid_from=version.valid_from if version else None,
        rates=msgspec.Raw(rates_json(version.rates).encode()) if version else None,
    )


def receipt_shape(receipt: Receipt) -> ReceiptShape | UntrackedShape:
    """Return the answer to a charge. Raises the GroatError that a refusal is."""
    if receipt.outcome is Outcome.UNTRACKED:
        charge = receipt.charge
        return UntrackedShape(
            outcome=receipt.outcome,
            tracked=False,
            reason="demo_mode",
            replayed=False,
            credits_charged=charge.credits_charged if charge else None,
            api_cost=charge.api_cost if charge else None,
            price=price_shape(charge, receipt.version, receipt.usage.model) if charge else None,
        )
    charge, booking = receipt.charge, receipt.booking
    if charge is None or booking is None:
        raise refusal(receipt)
    return ReceiptShape(
        id=booking.event_id,
        outcome=receipt.outcome,
        tracked=True,
        credits_charged=charge.credits_charged,
        api_cost=charge.api_cost,
        balance=booking.balance,
        available=booking.available,
        overdrawn=booking.balance < 0,
        version=booking.version,
        replayed=receipt.outcome is Outcome.REPLAYED,
        voided=receipt.is_voided,
        created_at=booking.created_at,
        price=price_shape(charge, receipt.version, receipt.usage.model),
    )


def refusal(receipt: Receipt) -> GroatError:
    """Return the error that a refused charge is answered with."""
    outcome, row, charge = receipt.outcome, receipt.row, receipt.charge
    if outcome is Outcome.INSUFFICIENT_CREDITS and row and charge:
        return InsufficientCredits(
            DETAILS[outcome],
            members={
                "required": charge.credits_charged,
                "available": row.available,
                "balance": row.balance,
                "held": row.held,
                "next_reset_at": row.next_reset_at,
            },
        )
    error = _REFUSALS.get(outcome, Unprocessable)
    code = "internal_error" if outcome is Outcome.FAILED else outcome.value
    return error(DETAILS[outcome], code=code, headers={"Retry-After": "1"} if outcome is Outcome.BUSY else None)


def person_shape(row: UserRow) -> PersonShape:
    """Return who a user is."""
    return shaped(PersonShape, row)


def balance_shape(row: UserRow) -> BalanceShape | None:
    """Return a user's balance, or None in demo mode."""
    return None if row.version is None else shaped(BalanceShape, row)


def user_shape(row: UserRow) -> UserShape:
    """Return a user with the balance."""
    return UserShape(person_shape(row), balance_shape(row))


def write_cursor(*parts: Decimal | int | str | datetime) -> str:
    """Return an opaque cursor of these sort keys."""
    texts = [part.isoformat() if isinstance(part, datetime) else str(part) for part in parts]
    return base64.urlsafe_b64encode(json.dumps(texts).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type[Any]) -> list[Any]:
    """Return a cursor's sort keys, each of its kind. Raises Unprocessable for one that we did not make."""
    try:
        texts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return [_read(text, kind) for text, kind in zip(texts, kinds, strict=True)]
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise Unprocessable("This cursor is not one of ours.", code="bad_cursor") from error


def _read(text: object, kind: type[Any]) -> Any:
    if not isinstance(text, str) or not is_safe(text):
        raise TypeError
    if kind is datetime:
        return datetime.fromisoformat(text).astimezone(UTC)
    value = kind(text)
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise ValueError(text)
    if isinstance(value, Decimal) and (not value.is_finite() or abs(value.adjusted()) > _CURSOR_DIGITS_MAX):
        raise ValueError(text)
    return value
