"""Users in demo mode are never tracked, whichever path a charge or a change of the mode comes by."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.core.outcomes import Outcome
from groat_server.errors import Conflict
from groat_server.operations.usage import charge
from groat_server.operations.users import Terms, update_user
from tests.operations.ledgers import ask, new_user, outcomes, use
from tests.operations.psql import Psql, psql
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.embedded import Server
    from groat_server.operations.ledger import Ledger

RAISED = Decimal(150)
RAISE = Terms(allowance=RAISED, grant_now=True, key="raise")
EVENT = """
INSERT INTO credit_usage_events (user_id, created_at, recorded_at, version, occurred_at_given, action_type,
    credits_charged, credits_per_dollar, multiplier, cost_source, balance_after, available_after, idempotency_key)
SELECT id, now(), now(), 2, false, 'chat', 0, 10, 1, 'unpriced', 0, 0, 'key' FROM users WHERE email LIKE %s
"""


@pytest.fixture
def sessions(server: Server, ledger_address: Address) -> Iterator[tuple[Psql, Psql]]:
    """Open two psql sessions on the test's ledger."""
    with psql(server, ledger_address) as one, psql(server, ledger_address) as other:
        yield one, other


def _add_users(address: Address) -> None:
    """One real user, one in demo mode; ids 1 and 2."""
    ask(address, "INSERT INTO users (email, demo_mode) VALUES ('real@example.com', false), ('demo@example.com', true)")


def _tracks(address: Address) -> list[tuple[int, ...]]:
    """Count events, ledger entries and balances."""
    return ask(
        address,
        "SELECT (SELECT count(*) FROM credit_usage_events), (SELECT count(*) FROM credit_ledger_entries),"
        " (SELECT count(*) FROM user_credit_balances)",
    )


def test_not_even_raw_sql_tracks_a_demo_user(ledger_address: Address) -> None:
    """The statement also has a real user's row: nothing of it is kept. Taken out: credit_usage_events_no_demo."""
    _add_users(ledger_address)
    for whom in ("demo%", "%"):
        with pytest.raises(psycopg.Error, match="never tracked") as refusal:
            ask(ledger_address, EVENT, [whom])
        assert refusal.value.sqlstate == "GR003"
    assert _tracks(ledger_address) == [(0, 1, 1)]


CHANGES = [
    "UPDATE credit_usage_events SET credits_charged = 0",
    "UPDATE credit_usage_events SET description = 'another' WHERE false",
    "DELETE FROM credit_usage_events",
    "TRUNCATE credit_usage_events",
    "UPDATE credit_ledger_entries SET amount = 1000000",
    "DELETE FROM credit_ledger_entries",
    "TRUNCATE credit_ledger_entries",
    "UPDATE price_versions SET multiplier = 0",
    "DELETE FROM price_versions",
    "TRUNCATE price_versions",
    (
        "INSERT INTO credit_usage_events OVERRIDING SYSTEM VALUE SELECT * FROM credit_usage_events"
        " ON CONFLICT (user_id, id) DO UPDATE SET credits_charged = 0"
    ),
    "MERGE INTO credit_usage_events AS kept USING users ON users.id = kept.user_id WHEN MATCHED THEN DELETE",
]


def test_history_is_not_changed_even_by_a_superuser(ledger_address: Address) -> None:
    """Taken out: the trigger of the table at hand."""
    _add_users(ledger_address)
    ask(ledger_address, call([RawCharge(user_ids=1, keys="a")]))
    before = _tracks(ledger_address)
    for change in CHANGES:
        with pytest.raises(psycopg.Error, match="history") as refusal:
            ask(ledger_address, change)
        assert refusal.value.sqlstate == "GR002"
    assert _tracks(ledger_address) == before


# --- the toggle -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_user_who_comes_and_goes_is_granted_one_allowance(ledger: Ledger) -> None:
    user_id = await new_user(ledger, 100, demo_mode=True)
    address = ledger.database.address
    for demo_mode in (False, True, False, False, True, True, False):
        await update_user(ledger, user_id, demo_mode=demo_mode)
        assert _tracks(address) == [(0, 0, 0)] if demo_mode else [(0, 1, 1)]
    assert ask(address, "SELECT current_balance FROM user_credit_balances") == [(100,)]
    assert ask(address, "SELECT kind, amount FROM credit_ledger_entries") == [("allowance", 100)]


@pytest.mark.anyio
async def test_a_user_with_a_history_does_not_enter_demo_mode(ledger: Ledger) -> None:
    """An event; an event that cost nothing; a second ledger entry; a raised allowance as the only entry; a reset.

    Taken out, one at a time: the conditions of close_untouched_account.
    """
    users = [await new_user(ledger) for _ in range(3)]
    poor = await new_user(ledger, 0)
    old = await new_user(ledger, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    await charge(ledger, [use(users[0], "a"), use(users[1], "a", 0)])
    for user_id in (users[2], poor):
        await update_user(ledger, user_id, terms=RAISE)
    ask(ledger.database.address, "SELECT settle_account_at(NULL, %s)", [old])
    before = _tracks(ledger.database.address)
    for user_id in (*users, poor, old):
        with pytest.raises(Conflict) as refusal:
            await update_user(ledger, user_id, demo_mode=True)
        assert refusal.value.problem_code == "demo_mode_refused"
    assert _tracks(ledger.database.address) == before


@pytest.mark.anyio
async def test_a_demo_user_has_no_allowance_to_change(ledger: Ledger) -> None:
    with pytest.raises(Conflict) as refusal:
        await update_user(ledger, await new_user(ledger, demo_mode=True), terms=RAISE)
    assert refusal.value.problem_code == "demo_mode"


@pytest.mark.anyio
async def test_who_leaves_demo_mode_is_charged_from_then_on(ledger: Ledger) -> None:
    user_id = await new_user(ledger, demo_mode=True)
    first = await charge(ledger, [use(user_id, "key")])
    await update_user(ledger, user_id, demo_mode=False)
    assert outcomes(first + await charge(ledger, [use(user_id, "key")])) == [Outcome.UNTRACKED, Outcome.RECORDED]


# --- a toggle and a charge at the same time ---------------------------------------------------------------------------

CHARGE = call([RawCharge(user_ids=1, keys="key")], columns="outcome")
ENTER = "UPDATE users SET demo_mode = true WHERE id = 1"
LEAVE = "UPDATE users SET demo_mode = false WHERE id = 1"


def test_a_toggle_that_waited_for_a_charge_is_refused(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    """Taken out: the lock in close_untouched_account; then it does not wait, and would delete a charged balance."""
    one, other = sessions
    _add_users(ledger_address)
    one.run("BEGIN")
    assert one.run(CHARGE) == [["recorded"]]
    other.send(ENTER)
    assert other.waits(ledger_address)
    one.run("COMMIT")
    assert "has a history" in other.answer()[0][0]
    assert _tracks(ledger_address) == [(1, 1, 1)]


def test_a_toggle_that_waited_for_a_charge_that_failed_succeeds(
    sessions: tuple[Psql, Psql], ledger_address: Address
) -> None:
    one, other = sessions
    _add_users(ledger_address)
    one.run("BEGIN")
    one.run(CHARGE)
    other.send(ENTER)
    assert other.waits(ledger_address)
    one.run("ROLLBACK")
    assert other.answer() == []
    assert _tracks(ledger_address) == [(0, 0, 0)]


def test_a_charge_that_waited_for_a_toggle_is_untracked(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    """Taken out: the charge's lock; then it fails on the trigger, or books against a balance that is gone."""
    one, other = sessions
    _add_users(ledger_address)
    one.run("BEGIN")
    one.run(ENTER)
    other.send(CHARGE)
    assert other.waits(ledger_address)
    one.run("COMMIT")
    assert other.answer() == [["untracked"]]
    assert _tracks(ledger_address) == [(0, 0, 0)]


def test_a_charge_beside_a_toggle_back_is_decided_by_what_is_committed(
    sessions: tuple[Psql, Psql], ledger_address: Address
) -> None:
    one, other = sessions
    _add_users(ledger_address)
    one.run(ENTER)
    one.run("BEGIN")
    one.run(LEAVE)
    assert other.run(CHARGE) == [["untracked"]]
    one.run("COMMIT")
    assert other.run(CHARGE) == [["recorded"]]
    assert _tracks(ledger_address) == [(1, 1, 1)]


def test_two_toggles_at_once_make_one_balance(sessions: tuple[Psql, Psql], ledger_address: Address) -> None:
    one, other = sessions
    _add_users(ledger_address)
    one.run(ENTER)
    one.run("BEGIN")
    one.run(LEAVE)
    other.send(LEAVE)
    assert other.waits(ledger_address)
    one.run("COMMIT")
    assert other.answer() == []
    assert _tracks(ledger_address) == [(0, 1, 1)]
