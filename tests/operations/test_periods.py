"""Resets: when periods begin and end, and what a reset does, however late and by whichever path it is carried out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
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
    datetime(year, 1, day, hour, minute, 59, 999999)  # noqa: DTZ001 - a wall time of no zone yet
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
                "SELECT kind, amount, recorded_at, period_start, balance_after FROM credit_ledger_entries"
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
    address = ledger.database.address
    anchors = [anchor for its_zone, anchor in _anchors() if its_zone == zone][::3]
    lazy = [await new_user(ledger, created_at=at, time_zone=zone) for at in anchors]
    swept = [await new_user(ledger, created_at=at, time_zone=zone) for at in anchors]
    for at, *both in zip(anchors, lazy, swept, strict=True):
        await charge(ledger, [use(user_id, "before", "30.5") for user_id in both], at=at + timedelta(days=1))
        back_up_at = model.boundary(at, zone, 4)
        await charge(ledger, [use(both[0], "after", 0)], at=back_up_at)
        with connect(address) as others, others.transaction():  # the sweep passes over whoever is locked
            rows(others, "SELECT user_id FROM user_credit_balances WHERE user_id <> %s FOR UPDATE", [both[1]])
            assert ask(address, "SELECT sweep_due_at(%s, 1000)", [back_up_at]) == [(1,)]
    swept_history = _history(address, swept)
    assert _history(address, lazy) == swept_history
    for at, history in zip(anchors, swept_history, strict=True):
        starts = [model.boundary(at, zone, n) for n in range(6)]
        assert history[0] == ("allowance", 100, at, starts[0], 100)
        assert history[1:-1] == _resets(starts[1:5])
        assert history[-1] == (100, 0, Decimal("30.5"), starts[4], starts[5], starts[5], 9)


def _resets(boundaries: Sequence[datetime]) -> list[tuple[Any, ...]]:
    """Return the entries of resets one after another: 69.5 are left of the first period, 100 of each other."""
    unused = [Decimal("69.5"), *[Decimal(100)] * (len(boundaries) - 1)]
    return [
        entry
        for at, left in zip(boundaries, unused, strict=True)
        for entry in (("expiry", -left, at, None, 0), ("allowance", 100, at, at, 100))
    ]


@pytest.mark.anyio
async def test_debt_is_carried_over_and_what_is_left_is_not(ledger: Ledger) -> None:
    """Taken out: the expiry; `greatest(current_balance, 0)`."""
    begun = datetime(2026, 1, 31, tzinfo=UTC)
    debtor, saver = await new_user(ledger, created_at=begun), await new_user(ledger, created_at=begun)
    await charge(ledger, [use(debtor, "a", 130), use(saver, "a", 30)], at=begun)
    receipts = await charge(ledger, [use(debtor, "b", 0), use(saver, "b", 0)], at=datetime(2026, 2, 28, tzinfo=UTC))
    assert [receipt.row and receipt.row.balance for receipt in receipts] == [70, 100]
    expiries = ask(ledger.database.address, "SELECT user_id, amount FROM credit_ledger_entries WHERE kind = 'expiry'")
    assert expiries == [(saver, -70)]


@pytest.mark.anyio
async def test_a_charge_at_the_boundary_belongs_to_the_new_period(ledger: Ledger) -> None:
    """Taken out: `next_boundary_at <= booked_at` (for <)."""
    begun, reset = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)
    user_id = await new_user(ledger, 10, created_at=begun)
    usages = [(use(user_id, "a", 8, enforce=True), reset - TICK), (use(user_id, "b", 3, enforce=True), reset - TICK)]
    usages += [(use(user_id, "b", 3, enforce=True), reset)]
    answers = [outcomes(await charge(ledger, [usage], at=at)) for usage, at in usages]
    assert answers == [[Outcome.RECORDED], [Outcome.INSUFFICIENT_CREDITS], [Outcome.RECORDED]]
    found = ask(
        ledger.database.address,
        "SELECT current_balance, current_month_consumed, total_consumed FROM user_credit_balances",
    )
    assert found == [(7, 3, 11)]


@pytest.mark.anyio
async def test_a_late_event_belongs_to_the_period_in_which_it_is_booked(ledger: Ledger) -> None:
    begun, reset = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)
    user_id = await new_user(ledger, 10, created_at=begun)
    await charge(ledger, [use(user_id, "late", 4, occurred_at=begun + timedelta(days=1))], at=reset + timedelta(days=1))
    address = ledger.database.address
    assert ask(address, "SELECT created_at < %s, recorded_at > %s FROM credit_usage_events", [reset, reset]) == [
        (True, True)
    ]
    assert ask(address, "SELECT current_balance, current_month_consumed FROM user_credit_balances") == [(6, 4)]


@pytest.mark.anyio
async def test_a_changed_zone_counts_after_the_present_period(ledger: Ledger) -> None:
    begun = datetime(2026, 1, 10, 3, tzinfo=UTC)  # the evening of the 9th in New York
    user_id = await new_user(ledger, created_at=begun)
    address = ledger.database.address
    ask(address, "UPDATE users SET time_zone = 'America/New_York'")
    starts = []
    for month in range(2, 6):
        await charge(ledger, [use(user_id, f"{month}", 0)], at=datetime(2026, month, 20, tzinfo=UTC))
        starts += ask(address, "SELECT period_start FROM user_credit_balances")
    assert [start for (start,) in starts] == [
        datetime(2026, 2, 10, 3, tzinfo=UTC),  # as it was announced; 9 February, 22:00 in New York
        datetime(2026, 3, 10, 2, tzinfo=UTC),  # 9 March, 22:00, by now summer time
        datetime(2026, 4, 10, 2, tzinfo=UTC),
        datetime(2026, 5, 10, 2, tzinfo=UTC),
    ]


@pytest.mark.anyio
async def test_a_raised_allowance_is_granted_once_and_never_clawed_back(ledger: Ledger) -> None:
    """Taken out: `IF allowance > granted`."""
    begun = datetime(2026, 1, 31, tzinfo=UTC)
    user_id = await new_user(ledger, 100, created_at=begun)
    address = ledger.database.address

    def balance_after(day: int, allowance: int, *, now: bool) -> Decimal:
        at = begun + timedelta(days=day)
        terms = [at, user_id, f"terms-{day}", allowance, now]
        ask(address, "SELECT set_terms_at(%s, %s, %s, %s, %s, NULL, NULL, 'test')", terms)
        ((balance,),) = ask(address, "SELECT current_balance FROM user_credit_balances")
        assert isinstance(balance, Decimal)
        return balance

    assert balance_after(1, 130, now=True) == 130
    assert balance_after(2, 130, now=True) == 130
    assert balance_after(3, 50, now=True) == 130
    assert balance_after(4, 120, now=True) == 130
    assert balance_after(5, 40, now=False) == 130
    assert balance_after(30, 200, now=False) == 40  # the reset of 28 February came first
    assert balance_after(60, 200, now=False) == 200


# --- who carries it out -----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_sweeps_and_charges_at_once_reset_each_period_once(ledger: Ledger) -> None:
    """Taken out: SKIP LOCKED with its lock; then the unique index on the period's entries stops the second sweep."""
    begun = datetime(2026, 1, 31, tzinfo=UTC)
    users = [await new_user(ledger, created_at=begun) for _ in range(30)]
    at = datetime(2026, 5, 1, tzinfo=UTC)

    async def sweep() -> None:
        rolled = 1
        while rolled:
            async with ledger.database.write() as connection:
                found = await connection.execute("SELECT sweep_due_at(%s, 4)", [at])
                ((rolled,),) = await found.fetchall()

    charges = [charge(ledger, [use(user_id, f"{n}") for user_id in users[n::3]], at=at) for n in range(3)]
    await asyncio.gather(*(sweep() for _ in range(4)), *charges, sweep())
    found = ask(
        ledger.database.address,
        "SELECT user_id, count(*), count(DISTINCT period_start) FROM credit_ledger_entries"
        " WHERE kind = 'allowance' GROUP BY user_id",
    )
    assert sorted(found) == [(user_id, 4, 4) for user_id in sorted(users)]


def test_the_sweep_passes_over_whoever_is_locked(ledger_address: Address) -> None:
    """Taken out: SKIP LOCKED; then this waits for the lock timeout."""
    ask(
        ledger_address,
        "INSERT INTO users (email, created_at) SELECT n || '@example.com', '2026-01-01' FROM generate_series(1, 3) n",
    )
    at = datetime(2026, 2, 2, tzinfo=UTC)
    with connect(ledger_address, lock_timeout="1ms") as sweeper:
        with connect(ledger_address) as other, other.transaction():
            rows(other, "SELECT user_id FROM user_credit_balances WHERE user_id = 2 FOR NO KEY UPDATE")
            assert rows(sweeper, "SELECT sweep_due_at(%s, 10)", [at]) == [(2,)]
        assert rows(sweeper, "SELECT sweep_due_at(%s, 10)", [at]) == [(1,)]
        assert rows(sweeper, "SELECT sweep_due_at(%s, 10)", [at]) == [(0,)]
