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

# What charge_one calls its parameters.
_ALONE = {
    "user_ids": "charged_user_id", "keys": "key", "credits": "credits", "actions": "action", "models": "model",
    "providers": "provider_given", "inputs": "input", "outputs": "output", "cache_reads": "cache_read",
    "cache_writes": "cache_write", "reasonings": "reasoning", "quantities": "quantity_given",
    "given_costs": "given_cost", "occurred": "occurred", "enforced": "enforced", "backfills": "backfill",
    "refusals": "refusal", "costs": "cost", "rates": "rate", "multipliers": "multiplier_given", "sources": "source",
    "prices": "price", "descriptions": "description_given", "sessions": "session", "metadatas": "metadata_given",
    "holds": "hold",
}  # fmt: skip

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
    alone: bool = False,
) -> str:
    """Compose a call of `charge_batch`, under the present price book; `alone`: of `charge_one`, with the only charge.

    Where `at` is given it is a call of the function that takes the instant.
    """
    arguments = {
        "route": "0",
        "book_version": "(SELECT version FROM price_book)",
        "priced_from": _literal(priced_from),
        "priced_until": _literal(priced_until),
        "skip_locked": _literal(skip_locked),
    }
    for field in fields(RawCharge):
        kind = _ELEMENTS.get(field.name, "text")
        values = [_literal(getattr(charge, field.name)) for charge in charges]
        if alone:
            arguments[_ALONE[field.name]] = f"{values[0]}::{kind}"
        else:
            arguments[field.name] = f"ARRAY[{', '.join(values)}]::{kind}[]"
    if not alone:
        arguments["settled"] = _literal(settled)
    function = "charge_one" if alone else "charge_batch"
    if at is not None:
        function += "_at"
        arguments["at"] = _literal(at)
    said = ", ".join(f"{name} => {value}" for name, value in arguments.items())
    return f"SELECT {columns} FROM {function}({said})"  # noqa: S608 - a test's own text


def _literal(value: object) -> str:
    if value is None:
        return "NULL"
    return "'" + str(value).replace("'", "''") + "'"
