"""Recounts one balance: the chain of its moves, its totals, its times, its keys and holds."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from tests.auditor.lots import lot_faults

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tests.auditor.books import AccountBooks

SHORTEST_PERIOD = timedelta(days=27, hours=22)  # 28 days on a calendar with a clock change
LONGEST_HOLD = timedelta(days=7)
SETTLED = 0  # the priority of adjustments that pay for history that was paid for elsewhere; they have no key


def account_faults(books: AccountBooks) -> Iterator[str]:
    """Yield what is wrong with one balance."""
    with localcontext(prec=80):
        moves = sorted(_moves(books))
        versions = [version for version, *_ in moves]
        if versions != list(range(1, len(moves) + 1)):
            yield "a version is missing or there twice"
            return
        yield from _chain(moves)
        yield from _totals(books, moves)
        yield from _times(books, [at for _, _, _, at in moves])
        yield from _keys(books)
        yield from _holds(books)
        yield from lot_faults(books)


def _moves(books: AccountBooks) -> Iterator[tuple[int, Decimal, Decimal, datetime]]:
    """List all that ever moved the balance: version, by how much, to what, when."""
    for row in books.entries:
        yield row["version"], row["amount"], row["balance_after"], row["recorded_at"]
    for row in [*books.events, *books.voids]:
        yield row["version"], -row["credits_charged"], row["balance_after"], row["recorded_at"]
    for row in books.voids:
        yield row["void_version"], row["credits_charged"], row["void_balance_after"], row["voided_at"]


def _chain(moves: list[tuple[int, Decimal, Decimal, datetime]]) -> Iterator[str]:
    total = Decimal(0)
    for version, amount, balance_after, _ in moves:
        total += amount
        if balance_after != total:
            yield f"version {version} says {balance_after}, recounted {total}"


def _totals(books: AccountBooks, moves: list[tuple[int, Decimal, Decimal, datetime]]) -> Iterator[str]:
    def credits_of(rows: list[dict[str, Decimal]]) -> Decimal:
        return sum((row["credits_charged"] for row in rows), Decimal(0))

    of_period = [event for event in books.events if event["recorded_at"] >= books.balance["period_start"]]
    entries = sum((entry["amount"] for entry in books.entries), Decimal(0))
    recounted = {
        "version": len(moves),
        "current_balance": entries - credits_of(books.events),
        "total_consumed": credits_of(books.events),
        "total_voided": credits_of(books.voids),
        "current_month_consumed": credits_of(of_period),
        "last_event_at": max((event["created_at"] for event in books.events), default=None),
    }
    for column, value in recounted.items():
        if books.balance[column] != value:
            yield f"{column} is {books.balance[column]}, recounted {value}"
    of_boundaries = Counter((entry["kind"], entry["period_start"]) for entry in books.entries if entry["period_start"])
    yield from (f"{period} was entered {times} times" for period, times in of_boundaries.items() if times > 1)


def _times(books: AccountBooks, booked: list[datetime]) -> Iterator[str]:
    balance = books.balance
    if booked != sorted(booked):
        yield "a later version was booked earlier"
    if booked and balance["last_recorded_at"] < booked[-1]:
        yield "last_recorded_at lies before the last booking"
    if balance["next_reset_at"] - balance["period_start"] < SHORTEST_PERIOD:
        yield f"the period {balance['period_start']} to {balance['next_reset_at']} is too short"
    ahead = [
        lot["starts_at"] if lot["version"] is None else lot["expires_at"] for lot in books.lots if lot["remaining"] > 0
    ]
    boundary = min([balance["next_reset_at"], *(at for at in ahead if at is not None)])
    if balance["next_boundary_at"] != boundary:
        yield f"next_boundary_at is {balance['next_boundary_at']}, recounted {boundary}"
    if booked and booked[-1] >= boundary:
        yield f"something was booked at {booked[-1]}, though a boundary was due at {boundary}"


def _keys(books: AccountBooks) -> Iterator[str]:
    """Each key once, over all verbs; each act that moved credits has its key, and its row in the audit log."""
    used = Counter(row["idempotency_key"] for row in [*books.events, *books.voids, *books.operations])
    yield from (f"the key {key!r} stands {times} times" for key, times in used.items() if times > 1)
    if (books.voids or books.operations) and not books.balance["has_operations"]:
        yield "has_operations says that there are none"
    done = Counter(operation["verb"] for operation in books.operations)
    kinds = Counter(entry["kind"] for entry in books.entries)
    settled = sum(lot["kind"] == "adjustment" and lot["priority"] == SETTLED for lot in books.lots)
    acts = {
        "grant": sum(lot["kind"] in {"purchase", "promotion"} for lot in books.lots),
        "adjustment": kinds["adjustment"],
        "refund": kinds["refund"],
        "void": len(books.voids),
    }
    audited = Counter(books.audited)
    for act, times in acts.items():
        without_key = settled if act == "adjustment" else 0
        if done[act] != times - without_key:
            yield f"{times} acts were a {act}, {without_key} without a key, and there are {done[act]} keys"
        if audited[act] != times:
            yield f"{times} acts were a {act}, and {audited[act]} rows of the audit log"
    if done["allowance"] > audited["terms"]:
        yield "the terms were changed without a row of the audit log"


def _holds(books: AccountBooks) -> Iterator[str]:
    captures = {event["hold_id"]: event["id"] for event in [*books.events, *books.voids] if event["hold_id"]}
    if len(captures) != sum(event["hold_id"] is not None for event in [*books.events, *books.voids]):
        yield "a hold was captured twice"
    captured = {hold["id"]: hold["event_id"] for hold in books.holds if hold["state"] == "captured"}
    if captures != captured:
        yield f"holds are captured by {captured}, recounted {captures}"
    keys = {operation["idempotency_key"] for operation in books.operations if operation["verb"] == "hold"}
    if keys != {hold["idempotency_key"] for hold in books.holds}:
        yield "the keys of holds are not those that were used for holds"
    for hold in books.holds:
        if not hold["created_at"] < hold["expires_at"] <= hold["created_at"] + LONGEST_HOLD:
            yield f"hold {hold['id']} lives from {hold['created_at']} to {hold['expires_at']}"
        until = books.balance["held_until"]
        if hold["state"] == "open" and (until is None or until < hold["expires_at"]):
            yield f"hold {hold['id']} counts for longer than held_until"
        if (hold["state"] == "captured") != (hold["captured_at"] is not None):
            yield f"hold {hold['id']} is {hold['state']}, captured at {hold['captured_at']}"
