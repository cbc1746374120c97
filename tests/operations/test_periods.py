"""Resets: when periods begin and end, and what a reset does, however late and by whichever path it is carried out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from groat_server.core.outcomes import Outcome
from groat_server.operations.usage import charge
from tests import model
from tests.operations.ledgers import ask, connect, new_user, outcomes, rows, use

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe")
TICK = timedelta(microseconds=1)

# Wall times on the 28th to the 31st of a January (and of a month before a clock change), in leap years and others.
WALLS = [
    datetime(year, 1, day, hour, minute, 59, 999999)
    for year, day, (hour, minute) in product((2023, 2024, 2025, 2028), (28, 29, 30, 31), ((0, 30), (1, 45), (23, 59)))
]

# Anchors whose later boundaries fall into a gap or an overlap of their zone, and where exactly they then are. Each
# second column is the anchor's wall time, the third how many months later, the fourth the boundary in UTC.
CLOCK_CHANGES = [
    ("America/New_York", "2026-01-08 02:30", 2, "2026-03-08 07:30"),  # skipped: read with the offset before, 03:30 EDT
    ("America/New_York", "2026-10-01 01:30", 1, "2026-11-01 05:30"),  # twice: the first, still EDT
    ("America/New_York", "2026-02-08 02:30", 2, "2026-04-08 06:30"),  # neither: counted from the anchor, not the gap
    ("Europe/Berlin", "2025-12-29 02:30", 3, "2026-03-29 01:30"),
    ("Europe/Berlin", "2025-08-26 02:30", 2, "2025-10-26 00:30"),
    ("Europe/Berlin", "2025-08-31 02:59:59.999999", 1, "2025-09-30 00:59:59.999999"),
    ("Australia/Lord_Howe", "2026-08-04 02:15", 2, "2026-10-03 15:45"),  # half an hour is skipped
    ("Australia/Lord_Howe", "2026-03-05 01:45", 1, "2026-04-04 14:45"),  # half an hour comes twice
    ("Pacific/Auckland", "2026-08-27 02:30", 1, "2026-09-26 14:30"),
    ("Pacific/Auckland", "2026-03-05 02:30", 1, "2026-04-04 13:30"),
    ("Antarctica/Troll", "2026-02-25 02:30", 8, "2026-10-25 00:30"),  # two hours come twice
    ("UTC", "2024-01-31 00:00", 1, "2024-02-29 00:00"),
    ("UTC", "2023-01-31 00:00", 1, "2023-02-28 00:00"),
    ("UTC", "2023-01-31 00:00", 2, "2023-03-31 00:00"),
    ("UTC", "2024-02-29 00:00", 12, "2025-02-28 00:00"),
    ("UTC", "2024-02-29 00:00", 48, "2028-02-29 00:00"),
    ("Asia/Kolkata", "2025-01-31 00:00", 1, "2025-02-27 18:30"),
]


def _anchors() -> list[tuple[str, datetime]]:
    return [(zone, wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)) for zone, wall in product(ZONES, WALLS)]


@pytest.mark.parametrize(("zone", "wall", "months", "expected"), CLOCK_CHANGES)
def test_the_model_knows_the_calendar(zone: str, wall: str, months: int, expected: str) -> None:
    """The oracle of these tests, against figures worked out by hand."""
    anchor = datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone))
    assert model.boundary(anchor, zone, months) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_boundaries_are_those_of_the_calendar(ledger_address: Address) -> None:
    """Taken out: the steps before the default instant (overlaps); the clamp is PostgreSQL's own."""
    asked = [(anchor, zone, n) for zone, anchor in _anchors() for n in range(-2, 26)]
    asked += [
        (datetime.fromisoformat(wall).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC), zone, months + more)
        for zone, wall, months, _ in CLOCK_CHANGES
        for more in range(-12, 13)
    ]
    anchors, zones, months = zip(*asked, strict=True)
    found = ask(
        ledger_address,
        "SELECT period_boundary(anchor, zone, n) FROM unnest(%s::timestamptz[], %s::text[], %s::integer[])"
        " WITH ORDINALITY AS asked(anchor, zone, n, place) ORDER BY place",
        [list(anchors), list(zones), list(months)],
    )
    assert [instant for (instant,) in found] == [model.boundary(*question) for question in asked]


def test_each_period_is_followed_by_the_next_boundary(ledger_address: Address) -> None:
    asked = [(anchor, zone, model.boundary(anchor, zone, n)) for zone, anchor in _anchors() for n in range(14)]
    assert _following(ledger_address, asked) == [
        model.boundary(anchor, zone, n + 1) for zone, anchor in _anchors() for n in range(14)
    ]


def test_no_period_is_shorter_than_28_days_where_the_zone_changed(ledger_address: Address) -> None:
    """Periods that began in one zone and end in another. Taken out: `>= 28` (for > 0)."""
    asked = [
        (anchor, new_zone, model.boundary(anchor, zone, n))
        for (zone, anchor), new_zone, n in product(_anchors()[::2], (*ZONES, "Pacific/Kiritimati"), range(3))
    ]
    found = _following(ledger_address, asked)
    assert found == [model.following_boundary(*question) for question in asked]
    for (_, zone, start), end in zip(asked, found, strict=True):
        local_start, local_end = start.astimezone(ZoneInfo(zone)), end.astimezone(ZoneInfo(zone))
        assert timedelta(28) <= local_end.replace(tzinfo=None) - local_start.replace(tzinfo=None) < timedelta(63)


def _following(address: Address, asked: Sequence[tuple[datetime, str, datetime]]) -> list[datetime]:
    anchors, zones, starts = zip(*asked, strict=True)
    found = ask(
        address,
        "SELECT next_period_boundary(anchor, zone, start)"
        " FROM unnest(%s::timestamptz[], %s::text[], %s::timestamptz[])"
        " WITH ORDINALITY AS asked(anchor, zone, start, place) ORDER BY place",
        [list(anchors), list(zones), list(starts)],
    )
    return [instant for (instant,) in found]


def test_the_present_period_is_found_up_to_the_microsecond(ledger_address: Address) -> None:
    asked = [
        (anchor, zone, model.boundary(anchor, zone, n) + step)
        for (zone, anchor), n, step in product(_anchors(), (0, 1, 2, 13), (-TICK, timedelta(0), TICK, timedelta(9)))
    ]
    anchors, zones, instants = zip(*asked, strict=True)
    found = ask(
        ledger_address,
        "SELECT period_start_at(anchor, zone, at) FROM unnest(%s::timestamptz[], %s::text[], %s::timestamptz[])"
        " WITH ORDINALITY AS asked(anchor, zone, at, place) ORDER BY place",
        [list(anchors), list(zones), list(instants)],
    )
    assert [instant for (instant,) in found] == [model.period_start(*question) for question in asked]


# --- what a reset does ------------------------------------------------------------------------------------------------


def _history(address: Address, user_ids: Sequence[int]) -> list[list[tuple[Any, ...]]]:
    """Return each user's ledger entries and balance: what must be equal whichever path carried the resets out."""
    with connect(address) as connection:
        return [
            rows(
                connection,
                "SELECT kind, amount, recorded_at, period_start, balance_after, version FROM credit_ledger_entries"
                " WHERE user_id = %s ORDER BY version",
                [user_id],
            )
            + rows(
                connection,
                "SELECT current_balance, current_month_consumed, total_consumed, period_start, next_reset_at,"
                " next_boundary_at, version - (SELECT count(*) FROM credit_usage_events WHERE user_id = %s)"
                " FROM user_credit_balances WHERE user_id = %s",
                [user_id, user_id],
            )
            for user_id in user_ids
        ]


@pytest.mark.anyio
@pytest.mark.parametrize("zone", ZONES)
async def test_three_months_of_downtime_are_caught_up_alike_by_a_charge_and_by_the_sweep(
    ledger: Ledger, zone: str
) -> None:
    """Anchors on the 28th to the 31st of leap years and others: one allowance a period, at its boundary, no stacking.

    Taken out: the inner loop over missed boundaries; the expiry.
    """
    anchors = [anchor for its_zone, anchor in _anchors() if its_zone == zone][::3]
    lazily, swept = ([await new_user(ledger, created_at=at, time_zone=zone) for at in anchors] for _ in range(2))
    lazy_ids, swept_ids = [user async for user in lazily], [user async for user in swept]
    for at, *both in zip(anchors, lazy_ids, swept_ids, strict=True):
        await charge(ledger, [use(user_id, "before", "30.5") for user_id in both], at=at + timedelta(days=1))
    for at, user_id in zip(anchors, lazy_ids, strict=True):
        after = model.boundary(at, zone, 4)
        await charge(ledger, [use(user_id, "after", 0)], at=after)
        ask(ledger.database.address, "SELECT settle_account_at(%s, %s)", [after, user_id])
    for at, user_id in zip(anchors, swept_ids, strict=True):
        # Each user is swept at a time of their own: those whose turn comes later are not due yet, or are locked.
        after = model.boundary(at, zone, 4)
        with connect(ledger.database.address) as others, others.transaction():
            rows(others, "SELECT user_id FROM user_credit_balances WHERE user_id <> %s FOR UPDATE", [user_id])
            assert ask(ledger.database.address, "SELECT sweep_due_at(%s, 1000)", [after]) == [(1,)]
    address = ledger.database.address
    lazy_history, swept_history = _history(address, lazy_ids), _history(address, swept_ids)
    assert [history[:-1] for history in lazy_history] == [history[:-1] for history in swept_history]
    assert [history[-1][:6] for history in lazy_history] == [history[-1][:6] for history in swept_history]
    for at, history in zip(anchors, swept_history, strict=True):
        boundaries = [model.boundary(at, zone, n) for n in range(1, 6)]
        assert [entry[:5] for entry in history[:-1]] == [
            ("allowance", 100, at, boundaries[0] if False else model.boundary(at, zone, 0), 100),
            *_resets(boundaries[:4]),
        ]
        assert history[-1] == (100, 0, Decimal("30.5"), boundaries[3], boundaries[4], boundaries[4], 9)


def _resets(boundaries: Sequence[datetime]) -> list[tuple[Any, ...]]:
    """Return the entries of resets one after another: 69.5 are left of the first period, 100 of each other."""
    unused = [Decimal("69.5"), *[Decimal(100)] * (len(boundaries) - 1)]
    return [
        entry
        for at, left in zip(boundaries, unused, strict=True)
        for entry in (("expiry", -left, at, at, 0), ("allowance", 100, at, at, 100))
    ]
