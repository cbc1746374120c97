"""The auditor sees what it is there to see: each way to cook the books, done past all triggers and rolled back."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from groat_server.operations.usage import charge
from tests.auditor import faults
from tests.operations.ledgers import connect, new_user, rows, use

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

EVENTS = "UPDATE credit_usage_events SET"
ENTRIES = "UPDATE credit_ledger_entries SET"
BALANCES = "UPDATE user_credit_balances SET"

COOKED = [
    f"{BALANCES} current_balance = current_balance + 1",
    f"{BALANCES} total_consumed = 0",
    f"{BALANCES} current_month_consumed = 0",
    f"{BALANCES} version = version + 1",
    f"{BALANCES} last_event_at = NULL",
    f"{BALANCES} last_recorded_at = period_start - interval '1 day'",
    f"{BALANCES} period_start = next_reset_at - interval '20 days'",
    f"{EVENTS} credits_charged = 1.5 WHERE version = 3",
    f"{EVENTS} balance_after = 0 WHERE version = 3",
    f"{EVENTS} version = 5 WHERE version = 3",
    f"{EVENTS} recorded_at = recorded_at - interval '1 hour' WHERE version = 3",
    f"{EVENTS} multiplier = 2 WHERE cost_source = 'caller'",
    f"{EVENTS} price_id = NULL",
    f"{ENTRIES} amount = 101",
    "DELETE FROM credit_usage_events WHERE version = 3",
    "DELETE FROM credit_ledger_entries",
    "DELETE FROM user_credit_balances",
    "DELETE FROM user_emails",
    "UPDATE users SET demo_mode = true",
    "INSERT INTO users (email, period_anchor) VALUES ('another@example.com', now())",
]


@pytest.mark.anyio
async def test_the_auditor_sees_through_cooked_books(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    usages = [use(user_id, "a"), use(user_id, "b"), use(user_id, "c", action_type="chat", api_cost=Decimal(1))]
    await charge(ledger, usages)
    unseen = []
    with connect(ledger.database.address, session_replication_role="replica") as connection:
        assert list(faults(connection)) == []
        for statement in COOKED:
            with connection.transaction(force_rollback=True):
                rows(connection, statement)
                if not list(faults(connection)):
                    unseen.append(statement)
    assert unseen == []
