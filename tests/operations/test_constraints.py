"""What the tables themselves refuse, whoever writes: amounts that are none, what comes twice, what cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from tests.conftest import fresh_ledger
from tests.operations.account import SqlAccount, day
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.embedded import Server


@pytest.fixture(scope="module")
def account(server: Server, template: str) -> Iterator[SqlAccount]:
    """Lend an account that has a row in every table; nothing that these tests try may change it."""
    with fresh_ledger(server, template) as address, connect(address) as connection:
        account = SqlAccount.open(connection, external_id="x")
        SqlAccount.open(connection)
        first = account.charge("a", 10, day(1), descriptions="d")["event_id"]
        account.charge("b", 10, day(1))
        account.void("void", account.charge("c", 10, day(1))["event_id"], day(2))
        account.refund("refund", first, 5, day(2))
        account.hold("hold", 5, day(2))
        account.grant("grant", 50, day(2), cost="0.1")
        before = everything(account)
        yield account
        assert everything(account) == before


def everything(account: SqlAccount) -> list[object]:
    """Return all rows of the user."""
    tables = ("user_credit_balances", "credit_usage_events", "credit_ledger_entries", "credit_lots", "credit_holds")
    return [account.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables]  # noqa: S608 - fixed names


def refused(account: SqlAccount, statement: str) -> psycopg.Error:
    """Return the error of a statement, as it is where lots may be written."""
    with account.connection.transaction(force_rollback=True):
        account.rows("SET LOCAL groat.booking = 'on'")
        with pytest.raises(psycopg.Error) as refusal:
            account.rows(statement)
    return refusal.value


AMOUNTS = [
    ("user_credit_balances", column)
    for column in (
        "current_balance", "monthly_allowance", "current_month_consumed", "total_consumed", "total_voided",
        "overdraft_limit", "rollover_cap", "allocated",
    )
] + [
    ("credit_lots", "amount"), ("credit_lots", "remaining"), ("credit_lots", "cost_basis"), ("credit_holds", "amount"),
    ("users", "opening_allowance"), ("ledger_settings", "default_allowance"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "column"), AMOUNTS)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "0.10", "0.0000000000001", "1.1e15"])
def test_an_amount_is_finite_bounded_and_trimmed(account: SqlAccount, table: str, column: str, value: str) -> None:
    found = refused(account, f"UPDATE {table} SET {column} = '{value}'")  # noqa: S608 - fixed names
    assert isinstance(found, errors.CheckViolation)
    assert str(found.diag.constraint_name).endswith(column)


@pytest.mark.parametrize(("table", "column"), [each for each in AMOUNTS if each[1] != "current_balance"])
def test_no_amount_but_the_balance_is_below_zero(account: SqlAccount, table: str, column: str) -> None:
    found = refused(account, f"UPDATE {table} SET {column} = -1")  # noqa: S608 - fixed names
    assert isinstance(found, errors.CheckViolation)


EVENT = """
INSERT INTO credit_usage_events (
    user_id, created_at, recorded_at, version, occurred_at_given, action_type, credits_charged, api_cost,
    credits_per_dollar, multiplier, cost_source, balance_after, available_after, idempotency_key, input_tokens,
    output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens
)
SELECT user_id, now(), now(), 99, false, 'x', {credits}, {cost}, 10, 1, '{source}', 0, 0, '{key}', {tokens}
FROM user_credit_balances ORDER BY user_id LIMIT 1
"""


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("credits_charged", {"credits": "-1"}),
        ("credits_charged", {"credits": "'NaN'"}),
        ("credits_charged", {"credits": "1.0"}),
        ("credits_charged", {"credits": "1e12 + 1"}),
        ("api_cost", {"cost": "-1"}),
        ("api_cost", {"cost": "1e6 + 1"}),
        ("tokens", {"tokens": "-1, 0, 0, 0, 0"}),
        ("tokens", {"tokens": "1000000001, 0, 0, 0, 0"}),
        ("tokens", {"tokens": "0, -1, 0, 0, 0"}),
        ("tokens", {"tokens": "5, 0, 3, 3, 0"}),
        ("tokens", {"tokens": "5, 0, -1, 3, 0"}),
        ("tokens", {"tokens": "5, 0, 3, -1, 0"}),
        ("tokens", {"tokens": "0, 5, 0, 0, 6"}),
        ("cost_source", {"source": "guess"}),
        ("idempotency_key", {"key": "a"}),
    ],
)
def test_an_event_that_cannot_be_is_no_row(account: SqlAccount, constraint: str, changes: dict[str, str]) -> None:
    good = {"credits": "1", "cost": "0.1", "source": "caller", "key": "new", "tokens": "0, 0, 0, 0, 0"}
    found = refused(account, EVENT.format(**good | changes))
    assert found.diag.constraint_name == f"credit_usage_events_{constraint}"


ENTRY = """
INSERT INTO credit_ledger_entries (user_id, kind, amount, recorded_at, balance_after, version, period_start, lot_id)
SELECT user_id, {kind}, {amount}, now(), {balance}, {version}, {period}, {lot} FROM user_credit_balances
ORDER BY user_id LIMIT 1
"""


@pytest.mark.parametrize(
    ("constraint", "changes"),
    [
        ("kind", {"kind": "'gift'"}),
        ("amount", {"amount": "-1"}),
        ("amount", {"amount": "0"}),
        ("amount", {"amount": "'NaN'"}),
        ("amount", {"kind": "'expiry'", "amount": "1"}),
        ("amount", {"kind": "'adjustment'", "amount": "0"}),
        ("balance_after", {"balance": "'NaN'"}),
        ("version_key", {"version": "1"}),
        ("period_key", {"kind": "'allowance'", "period": "user_credit_balances.period_start"}),
    ],
)
def test_an_entry_that_cannot_be_is_no_row(account: SqlAccount, constraint: str, changes: dict[str, str]) -> None:
    good = {
        "kind": "'purchase'", "amount": "1", "balance": "0", "version": "99", "period": "NULL", "lot": "NULL",
    }  # fmt: skip
    found = refused(account, ENTRY.format(**good | changes))
    assert found.diag.constraint_name == f"credit_ledger_entries_{constraint}"


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE credit_lots SET remaining = amount + 1", "credit_lots_remaining"),
        ("UPDATE credit_lots SET amount = 0, remaining = 0", "credit_lots_amount"),
        ("UPDATE credit_lots SET kind = 'gift'", "credit_lots_kind"),
        ("UPDATE credit_lots SET priority = 101", "credit_lots_priority"),
        ("UPDATE credit_lots SET expires_at = starts_at", "credit_lots_life"),
        ("UPDATE credit_lot_draws SET amount = 0", "credit_lot_draws_amount"),
        ("UPDATE credit_lot_draws SET first_credit = -1", "credit_lot_draws_first_credit"),
        ("UPDATE credit_lot_returns SET amount = 0", "credit_lot_returns_amount"),
        ("UPDATE credit_holds SET state = 'lost'", "credit_holds_state"),
        ("UPDATE credit_holds SET state = 'captured'", "credit_holds_captured"),
        ("UPDATE credit_holds SET event_id = 1", "credit_holds_captured"),
        ("UPDATE credit_holds SET state = 'released'", "credit_holds_released"),
        ("UPDATE credit_holds SET expires_at = created_at", "credit_holds_life"),
        ("UPDATE credit_holds SET expires_at = created_at + interval '8 days'", "credit_holds_life"),
        (
            """
            INSERT INTO credit_holds (user_id, idempotency_key, amount, created_at, expires_at)
            SELECT user_id, idempotency_key, 1, created_at, expires_at FROM credit_holds
            """,
            "credit_holds_idempotency_key",
        ),
        ("INSERT INTO credit_operations SELECT * FROM credit_operations", "credit_operations_pkey"),
        ("UPDATE user_credit_balances SET next_boundary_at = next_reset_at + interval '1 day'",
         "user_credit_balances_boundary"),
        ("UPDATE user_credit_balances SET next_reset_at = period_start, next_boundary_at = period_start",
         "user_credit_balances_boundary"),
        ("INSERT INTO ledger_settings (id) VALUES (2)", "ledger_settings_one_row"),
        ("UPDATE price_book SET credits_per_dollar = 0", "price_book_credits_per_dollar"),
        ("UPDATE price_book SET credits_per_dollar = 'NaN'", "price_book_credits_per_dollar"),
        ("UPDATE price_book SET multiplier = -1", "price_book_multiplier"),
        ("UPDATE price_book SET unknown_model = 'fallback', fallback_rates = NULL", "price_book_fallback_rates"),
        ("INSERT INTO users (email) SELECT upper(email) FROM users", "user_emails_pkey"),
        ("INSERT INTO users (email, external_id) VALUES ('n@example.com', 'x')", "user_external_ids_pkey"),
        ("INSERT INTO access_tokens (name, prefix, token_hash) VALUES ('n', 'p', 'h')", "access_tokens_holder"),
        ("INSERT INTO access_tokens (name, prefix, token_hash, scopes) VALUES ('n', 'p', 'h', '{root}')",
         "access_tokens_scopes"),
        (
            """
            INSERT INTO price_versions (kind, name, source, rates, valid_from, valid_to)
            VALUES ('model', 'm', 'override', '{}', '2026-02-01', '2026-01-01')
            """,
            "price_versions_period",
        ),
        ("INSERT INTO action_types (name) VALUES ('Chat')", "action_types_name"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused_by_name(account: SqlAccount, statement: str, constraint: str) -> None:
    assert refused(account, statement).diag.constraint_name == constraint


@pytest.mark.parametrize("statement", ["DELETE FROM credit_holds", "TRUNCATE credit_holds"])
def test_no_hold_ever_goes(account: SqlAccount, statement: str) -> None:
    assert refused(account, statement).sqlstate == "GR002"


def test_a_user_in_demo_mode_can_have_no_event(account: SqlAccount) -> None:
    demo = SqlAccount.open(account.connection, demo_mode=True)
    statement = EVENT.format(credits="1", cost="0.1", source="caller", key="new", tokens="0, 0, 0, 0, 0")
    statement = statement.replace("SELECT user_id, now()", f"SELECT {demo.user_id}, now()")
    assert refused(account, statement).sqlstate == "GR003"
