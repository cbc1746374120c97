"""Recounts a ledger from its raw rows in plain Python, and shares no SQL or arithmetic with what it audits."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from groat_server.database import Address

Row: TypeAlias = dict[str, Any]

SHORTEST_PERIOD = timedelta(days=27, hours=22)  # 28 days on a calendar with a clock change
_AMOUNTS = {
    "current_balance", "monthly_allowance", "current_month_consumed", "total_consumed", "overdraft_limit", "amount",
    "balance_after", "available_after", "credits_charged", "api_cost",
}  # fmt: skip


def audit(address: Address) -> list[str]:
    """Return what is wrong with the books at `address`: nothing, where they are right."""
    with psycopg.connect(address.url, options=address.options()) as connection:
        return list(faults(connection))


def faults(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield what is wrong with the books that this connection sees."""
    users = {row["id"]: row for row in _rows(connection, "SELECT * FROM users")}
    balances = {row["user_id"]: row for row in _rows(connection, "SELECT * FROM user_credit_balances")}
    events = _rows(connection, "SELECT * FROM credit_usage_events")
    entries = _rows(connection, "SELECT * FROM credit_ledger_entries")
    versions = {row["id"]: row for row in _rows(connection, "SELECT id, kind, name FROM price_versions")}

    yield from _names(users, connection)
    yield from _who_has_what(users, balances, events, entries)
    for row in [*balances.values(), *events, *entries]:
        yield from _amounts(row)
    for event in events:
        yield from _cost(event, versions)
    used = Counter((event["user_id"], event["idempotency_key"]) for event in events)
    yield from (
        f"user {user_id} has the key {key!r} {times} times" for (user_id, key), times in used.items() if times > 1
    )
    granted = Counter(
        (entry["user_id"], entry["kind"], entry["period_start"]) for entry in entries if entry["period_start"]
    )
    yield from (f"{period} was entered {times} times" for period, times in granted.items() if times > 1)

    events_of, entries_of = _by_user(events), _by_user(entries)
    for user_id, balance in balances.items():
        for fault in _account(balance, events_of[user_id], entries_of[user_id]):
            yield f"user {user_id}: {fault}"


def _account(balance: Row, events: list[Row], entries: list[Row]) -> Iterator[str]:
    """Recount one balance: the chain of its moves, its totals, its period."""
    moves = sorted([*events, *entries], key=lambda move: move["version"])
    total = Decimal(0)
    with localcontext(prec=80):
        for version, move in enumerate(moves, start=1):
            if move["version"] != version:
                yield f"version {version} is missing or there twice"
                return
            total += move["amount"] if "amount" in move else -move["credits_charged"]
            if move["balance_after"] != total:
                yield f"version {version} says {move['balance_after']}, recounted {total}"
            if move.get("kind") == "expiry" and total != 0:
                yield f"an expiry left {total}"
        consumed = sum((event["credits_charged"] for event in events), Decimal(0))
        of_period = [event for event in events if event["recorded_at"] >= balance["period_start"]]
        recounted = {
            "version": len(moves),
            "current_balance": total,
            "total_consumed": consumed,
            "current_month_consumed": sum((event["credits_charged"] for event in of_period), Decimal(0)),
            "last_event_at": max((event["created_at"] for event in events), default=None),
        }
    for column, value in recounted.items():
        if balance[column] != value:
            yield f"{column} is {balance[column]}, recounted {value}"
    yield from _times(balance, moves)


def _times(balance: Row, moves: list[Row]) -> Iterator[str]:
    booked = [move["recorded_at"] for move in moves]
    if booked != sorted(booked):
        yield "a later version was booked earlier"
    if booked and balance["last_recorded_at"] < booked[-1]:
        yield "last_recorded_at lies before the last booking"
    if balance["next_reset_at"] - balance["period_start"] < SHORTEST_PERIOD:
        yield f"the period {balance['period_start']} to {balance['next_reset_at']} is too short"
    if balance["next_boundary_at"] > balance["next_reset_at"]:
        yield "the next boundary lies after the reset"


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


def _who_has_what(
    users: dict[int, Row], balances: dict[int, Row], events: list[Row], entries: list[Row]
) -> Iterator[str]:
    real = {user_id for user_id, user in users.items() if not user["demo_mode"]}
    yield from (f"user {user_id} has no balance" for user_id in real - balances.keys())
    for what, rows in (("balance", balances.values()), ("event", events), ("entry", entries)):
        yield from (
            f"user {row['user_id']} is not tracked but has an {what}" for row in rows if row["user_id"] not in real
        )


def _names(users: dict[int, Row], connection: psycopg.Connection[Any]) -> Iterator[str]:
    emails = {row["email"]: row["user_id"] for row in _rows(connection, "SELECT * FROM user_emails")}
    if emails != {user["email"]: user_id for user_id, user in users.items()}:
        yield "the claims on e-mail addresses are not those of the users"
    external = {row["external_id"]: row["user_id"] for row in _rows(connection, "SELECT * FROM user_external_ids")}
    if external != {user["external_id"]: user_id for user_id, user in users.items() if user["external_id"] is not None}:
        yield "the claims on external ids are not those of the users"


def _amounts(row: Row) -> Iterator[str]:
    for column in _AMOUNTS & row.keys():
        amount = row[column]
        if amount is None:
            continue
        exponent = amount.as_tuple().exponent
        is_trimmed = isinstance(exponent, int) and (
            exponent == 0 or (-12 <= exponent < 0 and amount.as_tuple().digits[-1])
        )
        if not is_trimmed:
            yield f"{column} {amount!r} of user {row['user_id']} is not a trimmed amount"


def _by_user(rows: Iterable[Row]) -> defaultdict[int, list[Row]]:
    found: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["user_id"]].append(row)
    return found


def _rows(connection: psycopg.Connection[Any], query: LiteralString) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()
