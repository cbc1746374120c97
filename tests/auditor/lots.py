"""Recounts what is left of each lot, and which of them paid for what."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.auditor.books import AccountBooks, Row

ZERO = Decimal(0)


def lot_faults(books: AccountBooks) -> Iterator[str]:
    """Yield what is wrong with a user's lots. All that was ever consumed stands in one row, in order of version."""
    consumed = _consumed(books)
    yield from _sum(books, consumed)
    yield from _each_lot(books)
    yield from _each_entry(books)
    yield from _cover(books)
    yield from _given_back(books, consumed)


def _consumed(books: AccountBooks) -> list[tuple[int, Decimal]]:
    """List what consumed credits, in order: version and how many."""
    found = [(event["version"], event["credits_charged"]) for event in [*books.events, *books.voids]]
    found += [(entry["version"], -entry["amount"]) for entry in books.entries if _is_taken(entry)]
    return sorted(found)


def _is_taken(entry: Row) -> bool:
    return bool(entry["kind"] == "adjustment" and entry["amount"] < 0)


def _is_older_than_lots(books: AccountBooks) -> bool:
    """Whether entries were booked before there were lots: then nobody knows what paid for the first credits."""
    return any(entry["lot_id"] is None and entry["kind"] in {"allowance", "expiry"} for entry in books.entries)


def _sum(books: AccountBooks, consumed: list[tuple[int, Decimal]]) -> Iterator[str]:
    """Compare what is left of lots, less debts, with the balance and what is still to be allocated."""
    left = sum((lot["remaining"] for lot in books.lots if lot["version"] is not None), ZERO)
    debt = sum((draw["amount"] for draw in books.draws if draw["lot_id"] is None), ZERO)
    waiting = sum((credits_ for _, credits_ in consumed), ZERO) - books.balance["allocated"]
    if waiting < 0:
        yield f"{books.balance['allocated']} credits are allocated, {-waiting} more than were consumed"
    if left - debt != books.balance["current_balance"] + waiting:
        yield f"lots have {left}, {debt} is owed, {waiting} waits, not {books.balance['current_balance']}"
    if left and debt:
        yield f"{debt} is owed though lots have {left}"


def _each_lot(books: AccountBooks) -> Iterator[str]:
    """Recount each lot: what it began with and what came back, less what was drawn and what expired."""
    drawn, returned, expired = (defaultdict[int, Decimal](Decimal) for _ in range(3))
    born = {lot["id"]: lot["version"] for lot in books.lots if lot["kind"] == "refund"}
    for draw in books.draws:
        drawn[draw["lot_id"]] += draw["amount"]
    for back in books.returns:
        if born.get(back["returned_to"]) != back["version"]:  # otherwise it is what the lot began with
            returned[back["returned_to"]] += back["amount"]
    for entry in books.entries:
        if entry["kind"] == "expiry":
            expired[entry["lot_id"]] -= entry["amount"]
    for lot in books.lots:
        left = lot["amount"] + returned[lot["id"]] - drawn[lot["id"]] - expired[lot["id"]]
        if lot["remaining"] != left:
            yield f"lot {lot['id']} has {lot['remaining']}, recounted {left}"
        if lot["version"] is None and left != lot["amount"]:
            yield f"lot {lot['id']} was drawn on before it started"
    known = {lot["id"] for lot in books.lots}
    for what, of_lots in (("drawn", drawn), ("returned", returned), ("expired", expired)):
        yield from (f"credits were {what}, of no lot of this user" for id_ in of_lots.keys() - known if id_ is not None)


def _each_entry(books: AccountBooks) -> Iterator[str]:
    """See that every lot was brought in by its entry, at its start, and that what expired did so at its end."""
    lots = {lot["id"]: lot for lot in books.lots}
    explained = {back["returned_to"] for back in books.returns}
    is_older = _is_older_than_lots(books)
    for entry in books.entries:
        lot = lots.get(entry["lot_id"])
        name = f"the {entry['kind']} of version {entry['version']}"
        if entry["kind"] == "refund" or _is_taken(entry):
            if entry["lot_id"] is not None:
                yield f"{name} is of a lot"
        elif lot is None:
            if not is_older:
                yield f"{name} has no lot"
        elif entry["kind"] == "expiry":
            if entry["recorded_at"] != lot["expires_at"]:
                yield f"{name} was not booked when the lot expired"
        else:
            explained.add(lot["id"])
            if not _is_alike(entry, lot):
                yield f"{name} and its lot differ"
    unexplained = {lot["id"] for lot in books.lots if lot["version"] is not None} - explained
    if not is_older:
        yield from (f"nothing brought lot {id_} in" for id_ in unexplained)


def _is_alike(entry: Row, lot: Row) -> bool:
    columns = ("kind", "amount", "version")
    return all(entry[column] == lot[column] for column in columns) and entry["recorded_at"] == lot["starts_at"]


def _cover(books: AccountBooks) -> Iterator[str]:
    """See that draws cover what was allocated, each credit once. Debt that was given back has no draw any more."""
    stretches = [(draw["first_credit"], draw["amount"]) for draw in books.draws]
    stretches += [
        (back["first_credit"], back["amount"])
        for back in books.returns
        if back["drawn_from"] is None and back["returned_to"] is None
    ]
    stretches.sort()
    reached = ZERO
    if _is_older_than_lots(books):
        reached = stretches[0][0] if stretches else books.balance["allocated"]
    for first, amount in stretches:
        if first != reached:
            yield f"draws reach {reached} and go on at {first}"
        reached = first + amount
    if reached != books.balance["allocated"]:
        yield f"draws reach {reached}, and {books.balance['allocated']} is allocated"


def _given_back(books: AccountBooks, consumed: list[tuple[int, Decimal]]) -> Iterator[str]:
    """See that each refund gives back what is last of its charge and not given back yet, and never more than all."""
    ends = dict(
        zip((version for version, _ in consumed), accumulate(credits_ for _, credits_ in consumed), strict=True)
    )
    events = {event["id"]: event for event in books.events}
    expected = {
        void["void_version"]: (ends[void["version"]] - void["credits_charged"], ends[void["version"]])
        for void in books.voids
        if void["credits_charged"]
    }
    refunded: defaultdict[int, Decimal] = defaultdict(Decimal)
    for entry in books.entries:
        if entry["kind"] != "refund":
            continue
        event = events.get(entry["event_id"])
        if event is None:
            yield f"version {entry['version']} refunds no event, or one that was voided"
            continue
        last = ends[event["version"]] - refunded[event["id"]]
        refunded[event["id"]] += entry["amount"]
        expected[entry["version"]] = (last - entry["amount"], last)
        if refunded[event["id"]] > event["credits_charged"]:
            yield f"event {event['id']} was refunded {refunded[event['id']]} of {event['credits_charged']}"
    yield from _returned(books, expected)
    yield from _of_their_lots(books)


def _returned(books: AccountBooks, expected: dict[int, tuple[Decimal, Decimal]]) -> Iterator[str]:
    """See that each version returned just the stretch that is expected of it."""
    returned: defaultdict[int, list[Row]] = defaultdict(list)
    for back in books.returns:
        returned[back["version"]].append(back)
    if returned.keys() != expected.keys():
        yield f"credits were returned by the versions {sorted(returned)}, recounted {sorted(expected)}"
    for version, (first, last) in expected.items():
        reached = first
        for back in returned[version]:
            if back["first_credit"] != reached:
                yield f"version {version} returns credits from {back['first_credit']}, not from {reached}"
            reached = back["first_credit"] + back["amount"]
        if reached != last:
            yield f"version {version} returns credits up to {reached}, not {last}"


def _of_their_lots(books: AccountBooks) -> Iterator[str]:
    """See that what was returned was drawn from the lot that it says, and went back there unless that had expired."""
    lots = {lot["id"]: lot for lot in books.lots}
    at = {entry["version"]: entry["recorded_at"] for entry in books.entries}
    at |= {void["void_version"]: void["voided_at"] for void in books.voids}
    draws: defaultdict[int, list[Row]] = defaultdict(list)
    for draw in books.draws:
        draws[draw["lot_id"]].append(draw)
    for back in books.returns:
        origin = lots.get(back["drawn_from"])
        if origin is None:
            continue
        first, last = back["first_credit"], back["first_credit"] + back["amount"]
        if not any(
            draw["first_credit"] <= first and last <= draw["first_credit"] + draw["amount"]
            for draw in draws[origin["id"]]
        ):
            yield f"version {back['version']} returns what was not drawn from lot {origin['id']}"
        is_expired = origin["expires_at"] is not None and origin["expires_at"] <= at[back["version"]]
        target = lots.get(back["returned_to"])
        if target is None or (target is origin) == is_expired:
            yield f"version {back['version']} returns to lot {back['returned_to']} what came from {origin['id']}"
        elif is_expired and (target["version"], target["priority"], target["cost_basis"]) != (
            back["version"], origin["priority"], origin["cost_basis"],
        ):  # fmt: skip
            yield f"lot {target['id']} is not what lot {origin['id']} was"
