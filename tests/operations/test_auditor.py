"""The auditor sees what it is there to see: each way to cook the books, done past all triggers and rolled back."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from groat_server.operations.usage import charge
from tests.auditor import faults
from tests.model import ModelUsage
from tests.operations.ledgers import connect, new_user, rows, use
from tests.operations.twins import Asked, Twins

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    import psycopg

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

EVENTS = "UPDATE credit_usage_events SET"
ENTRIES = "UPDATE credit_ledger_entries SET"
BALANCES = "UPDATE user_credit_balances SET"
LOTS = "UPDATE credit_lots SET"
DRAWS = "UPDATE credit_lot_draws SET"
RETURNS = "UPDATE credit_lot_returns SET"
HOLDS = "UPDATE credit_holds SET"
VOIDS = "UPDATE voided_credit_usage_events SET"

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

# The same of an account on which every verb was used.
COOKED_LOTS = [
    f"{BALANCES} total_voided = 0",
    f"{BALANCES} allocated = allocated - 1",
    f"{BALANCES} next_boundary_at = next_boundary_at - interval '1 microsecond'",
    f"{BALANCES} next_boundary_at = next_boundary_at + interval '1 microsecond'",
    f"{BALANCES} held_until = held_until - interval '10 days'",
    f"{BALANCES} has_operations = false",
    f"{ENTRIES} event_id = event_id + 1 WHERE kind = 'refund'",
    f"{ENTRIES} lot_id = NULL WHERE kind = 'purchase'",
    f"{ENTRIES} lot_id = lot_id + 1 WHERE kind = 'expiry'",
    f"{ENTRIES} recorded_at = recorded_at - interval '1 microsecond' WHERE kind = 'expiry'",
    f"{LOTS} remaining = amount WHERE kind = 'allowance'",
    f"{LOTS} remaining = remaining - 1 WHERE version IS NULL",
    f"{LOTS} amount = amount + 1 WHERE kind = 'allowance'",
    f"{LOTS} kind = 'promotion' WHERE kind = 'purchase'",
    f"{LOTS} version = version + 1 WHERE kind = 'purchase'",
    f"{LOTS} starts_at = starts_at + interval '1 microsecond' WHERE kind = 'purchase'",
    f"{LOTS} expires_at = expires_at + interval '1 microsecond' WHERE kind = 'promotion' AND amount = 5",
    f"{LOTS} priority = 11 WHERE kind = 'refund'",
    "DELETE FROM credit_lots WHERE kind = 'refund'",
    f"{DRAWS} first_credit = first_credit + 1 WHERE lot_id IS NULL",
    f"{DRAWS} lot_id = lot_id + 1 WHERE lot_id IS NOT NULL",
    f"{DRAWS} amount = amount / 2 WHERE lot_id IS NULL",
    "DELETE FROM credit_lot_draws WHERE lot_id IS NULL",
    f"{RETURNS} returned_to = drawn_from WHERE returned_to <> drawn_from",
    f"{RETURNS} drawn_from = returned_to WHERE returned_to <> drawn_from",
    f"{RETURNS} first_credit = first_credit + 1",
    "DELETE FROM credit_lot_returns WHERE drawn_from IS NULL",
    "DELETE FROM credit_lot_returns",
    f"{HOLDS} state = 'open', event_id = NULL, captured_at = NULL WHERE state = 'captured'",
    f"{HOLDS} event_id = event_id + 1 WHERE state = 'captured'",
    f"{HOLDS} expires_at = expires_at + interval '1 day' WHERE state = 'open'",
    f"{HOLDS} idempotency_key = 'another' WHERE state = 'open'",
    f"{EVENTS} hold_id = NULL",
    f"{EVENTS} idempotency_key = 'refund' WHERE idempotency_key = 'c'",
    f"{VOIDS} void_balance_after = 0",
    f"{VOIDS} void_version = void_version + 100",
    f"{VOIDS} idempotency_key = 'c' WHERE idempotency_key = 'b'",
    "DELETE FROM voided_credit_usage_events",
    "DELETE FROM credit_operations WHERE verb = 'grant'",
    "DELETE FROM credit_operations WHERE verb = 'void'",
    "DELETE FROM audit_log WHERE act = 'grant'",
    "DELETE FROM audit_log WHERE act = 'adjustment'",
    "DELETE FROM audit_log WHERE act = 'refund'",
    "DELETE FROM audit_log WHERE act = 'void'",
    "DELETE FROM audit_log WHERE act = 'terms'",
]


@pytest.mark.anyio
async def test_the_auditor_sees_through_cooked_books(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    usages = [use(user_id, "a"), use(user_id, "b"), use(user_id, "c", action_type="chat", api_cost=Decimal(1))]
    await charge(ledger, usages)
    with connect(ledger.database.address, session_replication_role="replica") as connection:
        assert _unseen(connection, COOKED) == []


def test_the_auditor_sees_through_cooked_lots_and_holds(ledger_address: Address) -> None:
    with connect(ledger_address) as connection:
        ((now,),) = rows(connection, "SELECT date_trunc('second', clock_timestamp())")
        _use_every_verb(Twins(connection), now)
        rows(connection, "SET session_replication_role = replica")
        assert _unseen(connection, COOKED_LOTS) == []


def _unseen(connection: psycopg.Connection[Any], cooked: list[str]) -> list[str]:
    """Try each of them, and return those that the auditor does not see, or that change nothing."""
    assert list(faults(connection)) == []
    unseen = []
    for statement in cooked:
        with connection.transaction(force_rollback=True):
            changed = connection.execute(statement.encode()).rowcount
            if not changed or not list(faults(connection)):
                unseen.append(statement)
    return unseen


def _use_every_verb(twins: Twins, now: datetime) -> None:
    """Make an account with an expired lot that was drawn on, one to start, debts of which one was undone, and holds."""
    user_id = twins.add_user(now - timedelta(days=9), "UTC", Decimal(10))

    def ask(verb: str, key: str | None, days_ago: float, **details: object) -> None:
        twins.do(Asked(verb=verb, user_id=user_id, key=key, details=details), now - timedelta(days=days_ago))

    def use_(key: str, credits_: int, days_ago: float, hold: str | None = None) -> None:
        amount = Decimal(credits_)
        usage = ModelUsage(user_id=user_id, key=key, credits=amount, content=("unit", amount), hold=hold)
        twins.charge([usage], now - timedelta(days=days_ago))

    plain = {"priority": None, "cost_basis": None, "starts_at": None, "expires_at": None}
    soon = plain | {"priority": 5, "expires_at": now - timedelta(days=7)}
    later = plain | {"starts_at": now + timedelta(days=1)}
    ask("grant", "soon", 9, kind="promotion", amount=Decimal(5), **soon)
    ask("grant", "later", 9, kind="promotion", amount=Decimal(9), **later)
    use_("a", 3, 8)
    ask("refund", "refund", 6, event_key="a", amount=Decimal(2))
    use_("b", 4, 5)
    ask("void", "void", 4, event_key="b")
    ask("grant", "bought", 4, kind="purchase", amount=Decimal(2), **plain)
    ask("place_hold", "hold", 3, amount=Decimal(1), ttl=timedelta(days=1))
    ask("place_hold", "open", 0.1, amount=Decimal(1), ttl=timedelta(days=1))
    use_("c", 20, 0.1, hold="hold")
    use_("d", 2, 0.1)
    ask("void", "void of debt", 0.1, event_key="d")
    ask("adjust", "adjust", 0.1, amount=Decimal(-1), expires_at=None)
    ask("set_terms", "terms", 0.1, allowance=None, now=False, overdraft=Decimal(5), rollover_cap=None)
