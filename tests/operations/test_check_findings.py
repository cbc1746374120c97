"""Each check finds the drift that it is there for, and names it: written past all triggers, and rolled back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from groat_server.sql import source
from tests.conftest import fresh_ledger
from tests.operations.account import SqlAccount, day
from tests.operations.ledgers import connect, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from groat_server.embedded import Server

BALANCES = "UPDATE user_credit_balances SET"
EVENTS = "UPDATE credit_usage_events SET"
ENTRIES = "UPDATE credit_ledger_entries SET"
FIRST, LAST = "WHERE version = 2", "WHERE version = 3"
OF_PERIOD = "FROM user_credit_balances WHERE credit_usage_events.version = 2"
NOT_DUE = "next_reset_at = now() + interval '1 day'"

SOMETHING, NOTHING = "some finding that was not there before", "none"

DRIFT = [
    ("balances_initialised", "DELETE FROM user_credit_balances", "user 1 has no balance"),
    ("balances_initialised", "UPDATE users SET demo_mode = true", "user 1 is in demo mode and has a balance"),
    ("demo_untracked", "UPDATE users SET demo_mode = true", "user 1 is in demo mode and has 2 events"),
    ("cost_validation", f"{EVENTS} api_cost = 7 {FIRST}", "event 1 of user 1 charged 10, its factors come to 70"),
    (
        "cost_validation",
        f"{EVENTS} multiplier = 2, cost_source = 'caller' {FIRST}",
        "event 1 of user 1 charged 10, its factors come to 20",
    ),
    ("cost_validation", f"{EVENTS} api_cost = NULL, cost_source = 'model' {FIRST}", SOMETHING),
    ("total_consumed", f"{BALANCES} total_consumed = 14", "user 1 total_consumed 14, events 15"),
    ("total_consumed", "DELETE FROM credit_usage_events", "user 1 total_consumed 15, events 0"),
    ("month_consumed", f"{BALANCES} current_month_consumed = 16", SOMETHING),
    ("month_consumed", f"{EVENTS} recorded_at = period_start {OF_PERIOD}", NOTHING),
    ("month_consumed", f"{EVENTS} recorded_at = period_start - interval '1 microsecond' {OF_PERIOD}", SOMETHING),
    (
        "balance_chain",
        f"{BALANCES} version = 9",
        "user 1 is at version 9 of 2026-01-12 12:00:00+00, its last row at 3 of 2026-01-12 12:00:00+00",
    ),
    ("balance_chain", f"{EVENTS} version = 7 {LAST}", "version 7 of user 1 follows version 2"),
    ("balance_chain", f"{EVENTS} balance_after = 1 {LAST}", "version 3 of user 1 leaves 1, 90 and -5 come to 85"),
    (
        "balance_chain",
        f"{EVENTS} recorded_at = recorded_at - interval '9 days' {LAST}",
        "version 3 of user 1 was booked before version 2",
    ),
    ("no_overdue_reset", f"{BALANCES} next_boundary_at = now() - interval '6 minutes', {NOT_DUE}", SOMETHING),
    ("no_overdue_reset", f"{BALANCES} next_boundary_at = now() - interval '4 minutes', {NOT_DUE}", NOTHING),
    ("names_claimed", "DELETE FROM user_emails", "user 1 does not hold the claim on its e-mail address"),
    ("names_claimed", "UPDATE user_emails SET user_id = 2", "user 1 does not hold the claim on its e-mail address"),
    ("names_claimed", "DELETE FROM user_external_ids", "user 1 does not hold the claim on its external id"),
    (
        "names_claimed",
        "INSERT INTO user_emails VALUES ('old@example.com', 1)",
        "user 1 still holds the claim on old@example.com",
    ),
    ("durable", "SET LOCAL synchronous_commit = 'off'", "synchronous_commit is off"),
    ("tracking_alive", "DELETE FROM credit_usage_events", "the ledger there is no event yet"),
    ("tracking_alive", f"{EVENTS} created_at = now() - interval '23 hours'", NOTHING),
    ("no_unpriced_event", f"{EVENTS} cost_source = 'unpriced' {FIRST}", "model (none) 1 events at 0 credits"),
]


@pytest.fixture(scope="module")
def connection(server: Server, template: str) -> Iterator[psycopg.Connection[Any]]:
    """Lend a ledger of one user with two events, past all triggers."""
    with fresh_ledger(server, template) as address:
        with connect(address) as plain:
            account = SqlAccount.open(plain, external_id="x")
            account.charge("a", 10, day(1))
            account.charge("b", 5, day(2))
        with connect(address, session_replication_role="replica") as connection:
            yield connection


def found(connection: psycopg.Connection[Any], check: str) -> set[str]:
    """Return what a check finds."""
    return {f"{subject} {finding}" for subject, finding in rows(connection, source(f"checks/{check}"))}


@pytest.mark.parametrize(("check", "drift", "finding"), DRIFT)
def test_a_check_finds_the_drift_it_is_there_for(
    connection: psycopg.Connection[Any], check: str, drift: str, finding: str
) -> None:
    with connection.transaction(force_rollback=True):
        before = found(connection, check)
        rows(connection, drift)
        new = found(connection, check) - before
    if finding == NOTHING:
        assert not new
    elif finding == SOMETHING:
        assert new
    else:
        assert finding in new


def test_a_check_of_a_sum_finds_credits_that_came_from_nowhere(connection: psycopg.Connection[Any]) -> None:
    for drift in (
        f"{BALANCES} current_balance = current_balance + 1",
        f"{ENTRIES} amount = 101",
        f"{EVENTS} credits_charged = 3",
    ):
        with connection.transaction(force_rollback=True):
            assert not found(connection, "ledger_equals_balance")
            rows(connection, drift)
            assert len(found(connection, "ledger_equals_balance")) == 1, drift
