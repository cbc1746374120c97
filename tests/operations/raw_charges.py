"""Calls of the SQL function `charge_batch` as text, for psql and for plain connections."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCharge:
    """One charge, already priced, field by parameter of the function; None is NULL."""

    user_ids: int
    keys: str
    credits: str = "1"
    actions: str = "unit"
    models: str | None = None
    providers: str | None = None
    inputs: int = 0
    outputs: int = 0
    cache_reads: int = 0
    cache_writes: int = 0
    reasonings: int = 0
    quantities: str | None = None
    given_costs: str | None = None
    occurred: str | None = None
    enforced: bool = False
    backfills: bool = False
    refusals: str | None = None
    costs: str | None = "0.1"
    rates: str = "10"
    multipliers: str = "1"
    sources: str = "fallback"
    prices: int | None = None
    descriptions: str | None = None
    sessions: str | None = None
    metadatas: str | None = None
    holds: int | None = None


_ELEMENTS = {
    "user_ids": "bigint",
    "prices": "bigint",
    "holds": "bigint",
    "occurred": "timestamptz",
    "enforced": "boolean",
    "backfills": "boolean",
    "metadatas": "jsonb",
    **dict.fromkeys(["inputs", "outputs", "cache_reads", "cache_writes", "reasonings"], "integer"),
    **dict.fromkeys(["quantities", "given_costs", "costs", "rates", "multipliers", "credits"], "numeric"),
}

ANSWER = "outcome, event_id, credits_charged, balance, available, version"


def enforced(user_id: int, key: str, credits_: int) -> RawCharge:
    """Make a charge of so many credits that is refused where they are not there."""
    return RawCharge(user_ids=user_id, keys=key, credits=str(credits_), costs=str(credits_ / 10), enforced=True)


def call(
    charges: Sequence[RawCharge],
    *,
    columns: str = ANSWER,
    at: datetime | None = None,
    skip_locked: bool = False,
    settled: bool = False,
    priced_from: datetime | None = None,
    priced_until: datetime | None = None,
) -> str:
    """Compose a call of `charge_batch`, or of `charge_batch_at` where `at` is given, under the present price book."""
    arrays = [
        f"{field.name} => ARRAY[{', '.join(_literal(getattr(charge, field.name)) for charge in charges)}]"
        f"::{_ELEMENTS.get(field.name, 'text')}[]"
        for field in fields(RawCharge)
    ]
    arguments = [
        "route => 0",
        "book_version => (SELECT version FROM price_book)",
        f"priced_from => {_literal(priced_from)}",
        f"priced_until => {_literal(priced_until)}",
        f"skip_locked => {_literal(skip_locked)}",
        *arrays,
        f"settled => {_literal(settled)}",
    ]
    if at is None:
        return f"SELECT {columns} FROM charge_batch({', '.join(arguments)})"  # noqa: S608 - a test's own text
    return f"SELECT {columns} FROM charge_batch_at(at => {_literal(at)}, {', '.join(arguments)})"  # noqa: S608


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return "'" + str(value).replace("'", "''") + "'"
