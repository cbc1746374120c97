"""Recounts a ledger from its raw rows in plain Python, and shares no SQL or arithmetic with what it audits."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

import psycopg

from tests.auditor.accounts import account_faults
from tests.auditor.books import Books, Row
from tests.auditor.rollups import rollup_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address

__all__ = ["audit", "faults"]

# Amounts, by which a row that has none of them is passed over. Which lot paid for what is told to the same precision.
_AMOUNTS = (
    "current_balance", "monthly_allowance", "current_month_consumed", "total_consumed", "total_voided", "allocated",
    "overdraft_limit", "rollover_cap", "amount", "remaining", "first_credit", "cost_basis", "balance_after",
    "void_balance_after", "available_after", "credits_charged", "api_cost",
)  # fmt: skip


def audit(address: Address) -> list[str]:
    """Return what is wrong with the books at `address`: nothing, where they are right."""
    with psycopg.connect(address.url, options=address.options()) as connection:
        return list(faults(connection))


def faults(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield what is wrong with the books that this connection sees."""
    books = Books.read(connection)
    yield from _names(books)
    yield from _who_has_what(books)
    yield from rollup_faults(books)
    for rows in books.of_users.values():
        for row in chain.from_iterable(rows.values()):
            yield from _amounts(row)
    for event in (event for kind in ("events", "voids") for event in books.all(kind)):
        yield from _cost(event, books.price_versions)
    for user_id in books.balances:
        for fault in account_faults(books.account(user_id)):
            yield f"user {user_id}: {fault}"


def _cost(event: Row, versions: dict[int, Row]) -> Iterator[str]:
    name = f"event {event['id']} of user {event['user_id']}"
    if event["cost_source"] in {"model", "caller", "fallback"}:
        with localcontext(prec=120):
            owed = event["api_cost"] * event["credits_per_dollar"] * event["multiplier"]
            owed = owed.quantize(Decimal("1e-12"), rounding=ROUND_HALF_UP)
        if event["credits_charged"] != owed:
            yield f"{name} was charged {event['credits_charged']} and owes {owed}"
    if event["cost_source"] == "unpriced" and event["credits_charged"] != 0:
        yield f"{name} is unpriced and was charged"
    if (event["cost_source"] in {"model", "action"}) != (event["price_id"] in versions):
        yield f"{name} pins the price {event['price_id']} though its cost is of {event['cost_source']}"


def _who_has_what(books: Books) -> Iterator[str]:
    real = {user_id for user_id, user in books.users.items() if not user["demo_mode"]}
    yield from (f"user {user_id} has no balance" for user_id in real - books.balances.keys())
    for user_id, rows in books.of_users.items():
        if user_id not in real:
            yield from (f"user {user_id} is not tracked but has {kind}" for kind, found in rows.items() if found)


def _names(books: Books) -> Iterator[str]:
    if books.emails != {user["email"]: user_id for user_id, user in books.users.items()}:
        yield "the claims on e-mail addresses are not those of the users"
    external = {user["external_id"]: user_id for user_id, user in books.users.items() if user["external_id"]}
    if books.external_ids != external:
        yield "the claims on external ids are not those of the users"


def _amounts(row: Row) -> Iterator[str]:
    for column in _AMOUNTS:
        amount = row.get(column)
        if amount is None:
            continue
        _, digits, exponent = amount.as_tuple()
        if exponent != 0 and not (isinstance(exponent, int) and -12 <= exponent < 0 and digits[-1]):
            yield f"{column} {amount!r} of user {row['user_id']} is not a trimmed amount"
