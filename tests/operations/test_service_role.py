"""A service with a role of its own: it can do all that a service does, and nothing else to the books if it tried."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from groat_server.database import Address
from groat_server.errors import CannotStart
from groat_server.migrations import let_service_in, migrate
from groat_server.migrations.rights import WRITTEN
from groat_server.operations.checks import run_checks
from groat_server.operations.ledger import open_ledger
from groat_server.operations.rehearsal import acting_for_a_reason
from groat_server.operations.users import update_user
from tests.http.api import Api, new_key
from tests.operations.ledgers import ask, connect, new_user, rows
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from groat_server.embedded import Server
    from groat_server.operations.ledger import Ledger

FORBIDDEN = "42501"
MONEY = {
    "user_credit_balances",
    "credit_usage_events",
    "voided_credit_usage_events",
    "credit_ledger_entries",
    "credit_lots",
    "credit_lot_draws",
    "credit_lot_returns",
    "credit_holds",
    "credit_operations",
    "credit_alerts",
    "usage_hourly",
    "usage_daily",
    "usage_daily_users",
    "user_daily",
    "audit_log",
}


@contextmanager
def _role(address: Address) -> Iterator[tuple[str, Address]]:
    """Make a role that can log in, and lend it with the ledger's address as that role's."""
    name, password = f"service_{secrets.token_hex(4)}", secrets.token_hex(16)
    with connect(address) as owner:
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password)
        owner.execute(create)
        try:
            parts = urlsplit(address.url)
            yield name, Address(parts._replace(netloc=f"{name}:{password}@").geturl(), address.schema)
        finally:
            owner.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def service_address(ledger_address: Address) -> Iterator[Address]:
    """Lend the ledger's address as that of a service with a role of its own."""
    with _role(ledger_address) as (name, address):
        let_service_in(ledger_address.url, name)
        yield address


def _refusal(address: Address, statement: str) -> str | None:
    with connect(address) as connection, connection.transaction(force_rollback=True):
        try:
            rows(connection, statement)
        except psycopg.Error as error:
            return error.sqlstate
    return None


@pytest.mark.anyio
async def test_it_changes_nothing_by_hand_that_credits_are_in(ledger: Ledger, service_address: Address) -> None:
    """Taken out: the rights of `users` by column, in WRITTEN; then anybody can be made to look anonymised."""
    await new_user(ledger)
    for table in sorted(MONEY):
        column = "slot" if table.startswith("usage_") else "user_id"
        for statement in (
            f"INSERT INTO {table} SELECT * FROM {table}",  # noqa: S608 - names of our own
            f"UPDATE {table} SET {column} = {column}",  # noqa: S608 - names of our own
            f"DELETE FROM {table}",  # noqa: S608 - names of our own
            f"TRUNCATE {table}",
            f"ALTER TABLE {table} DISABLE TRIGGER ALL",
            f"SELECT FROM {table} FOR UPDATE",
        ):
            assert _refusal(service_address, statement) == FORBIDDEN, statement
        assert _refusal(service_address, f"SELECT count(*) FROM {table}") is None  # noqa: S608 - names of our own
    for statement in (
        "UPDATE users SET anonymised_at = now()",
        "UPDATE users SET id = id + 1",
        "DELETE FROM users",
        "DELETE FROM access_tokens",
        "UPDATE price_versions SET note = ''",
        "UPDATE schema_definitions SET digest = ''",
        "SET session_replication_role = replica",
        "CREATE TABLE mine (id int)",
    ):
        assert _refusal(service_address, statement) == FORBIDDEN, statement


def test_it_calls_what_a_service_calls_and_never_says_what_time_it_is(
    ledger_address: Address, service_address: Address
) -> None:
    """Taken out: the condition on `_at` in callable_by_service."""
    functions = ask(
        ledger_address,
        "SELECT oid::regprocedure::text, proname, prosecdef, pronargs, proconfig::text FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    )
    names = {name for _, name, *_ in functions}
    assert [
        signature for signature, _, is_definer, _, config in functions if not is_definer or "search_path" not in config
    ] == []
    callable_ = {
        name
        for signature, name, *_ in functions
        if ask(service_address, "SELECT has_function_privilege(%s, 'EXECUTE')", [signature]) == [(True,)]
    }
    assert {"charge_batch", "grant_credits", "void_event", "anonymise_user", "place_hold", "sweep_due"} <= callable_
    assert {name for name in callable_ if name.endswith("_at") and name.removesuffix("_at") in names} == set()
    assert not callable_ & {
        "audit",
        "book_entry",
        "add_lot",
        "give_back",
        "begin_operation",
        "open_account",
        "roll_forward",
    }
    with _role(ledger_address) as (stranger, address):
        assert ask(address, "SELECT current_user") == [(stranger,)]
        for signature, *_ in functions:
            assert ask(address, "SELECT has_function_privilege(%s, 'EXECUTE')", [signature]) == [(False,)], signature


def test_each_table_is_one_that_holds_credits_or_one_that_the_service_may_write_or_neither(
    ledger_address: Address,
) -> None:
    """A table that a later version adds is thought of. Whoever adds one says here what a service may do to it."""
    only_read = {"user_emails", "user_external_ids", "action_types", "schema_definitions", "groat_schema_version"}
    found = ask(ledger_address, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert {table for (table,) in found} == MONEY | set(WRITTEN) | only_read
    assert not MONEY & set(WRITTEN)


def test_the_whole_interface_works_through_it(
    ledger_address: Address, service_address: Address, tmp_path: Path
) -> None:
    with serving(service_address, tmp_path) as (service,), Api.as_admin(service.url, ledger_address) as api:
        user = api.new_user(full_name="Somebody", external_id="own-1")
        user_id = api.get(f"/api/v1/admin/users/{user}").body["user"]["id"]
        event = api.charge(user, credits_=5).body["id"]
        assert api.charge(user, action_type="brand_new", api_cost="0.1").status == 201
        hold = api.post("/api/v1/holds", {"user": user, "amount": 4, "idempotency_key": new_key()})
        assert hold.status == 201
        assert api.post(f"/api/v1/holds/{hold.body['id']}/renew", {}).status == 200
        assert api.post(f"/api/v1/holds/{hold.body['id']}/release", {}).status == 200
        grant = {"user": user, "kind": "purchase", "amount": 50, "idempotency_key": new_key()}
        assert api.post("/api/v1/admin/grants", grant).status == 201
        adjustment = {"user": user, "amount": -1, "reason": "x", "idempotency_key": new_key()}
        assert api.post("/api/v1/admin/adjustments", adjustment).status == 201
        refund = {"user": user, "event_id": event, "amount": 1, "reason": "x", "idempotency_key": new_key()}
        assert api.post("/api/v1/admin/refunds", refund).status == 201
        void = {"user": user, "event_id": api.charge(user).body["id"], "reason": "x", "idempotency_key": new_key()}
        assert api.post("/api/v1/admin/voids", void).status == 201
        terms = {"monthly_allowance": 500, "effective": "now", "overdraft_limit": 5, "idempotency_key": new_key()}
        assert api.patch(f"/api/v1/admin/users/{user}", terms).status == 200
        demo = api.new_user(demo_mode=True)
        assert api.patch(f"/api/v1/admin/users/{demo}", {"demo_mode": False}).status == 200
        token = api.post("/api/v1/admin/tokens", {"name": "app", "scopes": ["usage:write"]}).body["details"]
        rotated = api.post(f"/api/v1/admin/tokens/{token['id']}/rotate", {})
        assert rotated.status == 201
        assert api.delete(f"/api/v1/admin/tokens/{token['id']}").status == 204
        assert api.with_token(rotated.body["token"]).charge(user).status == 201
        for path in ("overview", "users", f"user/{user}", "top-consumers", "daily-trend"):
            assert api.get(f"/api/v1/admin/credits/{path}").status == 200
        for path in ("lots", "ledger", "holds", f"events/{event}/explain"):
            assert api.get(f"/api/v1/admin/users/{user}/{path}").status == 200, path
        assert api.post(f"/api/v1/admin/users/{user}/anonymise", {"confirm": user_id}).status == 200
        acts = api.get("/api/v1/admin/audit", limit=500).body["acts"]
        assert {act["actor"].partition(":")[0] for act in acts if act["user_id"] == user_id} == {"token"}


@pytest.mark.anyio
async def test_the_check_warns_where_the_service_has_no_role_of_its_own(
    ledger: Ledger, service_address: Address
) -> None:
    (warned,) = await run_checks(ledger, ["service_role"])
    assert (warned.verdict, len(warned.findings)) == ("warn", 1)
    async with open_ledger(service_address, provider_durability=True) as service:
        (passed,) = await run_checks(service, ["service_role"])
        assert passed.verdict == "pass"


def test_a_migration_that_replaces_definitions_lets_the_service_in_again(
    ledger_address: Address, service_address: Address
) -> None:
    """Taken out: secure_functions after the definitions; then anybody calls anything, with the caller's rights."""
    may_charge = "SELECT bool_and(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc WHERE proname = 'charge_batch'"
    assert ask(service_address, may_charge) == [(True,)]
    ask(ledger_address, "DROP FUNCTION settle_account(bigint)")
    ask(ledger_address, "UPDATE schema_definitions SET digest = 'another'")
    migrate(ledger_address.url)
    assert ask(service_address, may_charge) == [(True,)]
    assert ask(service_address, "SELECT settle_account(0)") == [(None,)]
    assert _refusal(service_address, "SELECT settle_account_at(NULL, 0)") == FORBIDDEN


def test_the_services_role_migrates_nothing_and_says_who_may(ledger_address: Address, service_address: Address) -> None:
    assert migrate(service_address.url).definitions == ()
    with pytest.raises(CannotStart, match="owns the tables"):
        let_service_in(service_address.url, "pg_monitor")
    ask(ledger_address, "UPDATE schema_definitions SET digest = 'another' WHERE name = 'periods'")
    with pytest.raises(CannotStart, match="owns the tables"):
        migrate(service_address.url)
    assert migrate(ledger_address.url).definitions == ("periods",)


def test_who_is_no_role_or_could_do_everything_anyway_is_refused(ledger_address: Address, server: Server) -> None:
    with pytest.raises(CannotStart, match="CREATE ROLE nobody"):
        let_service_in(ledger_address.url, "nobody")
    with pytest.raises(CannotStart, match="superuser"):
        let_service_in(ledger_address.url, str(urlsplit(server.socket_url).username))


def test_functions_and_tables_of_others_in_the_schema_are_left_alone(ledger_address: Address) -> None:
    ask(ledger_address, "CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    ask(ledger_address, "CREATE TABLE their_secrets (id int)")
    ask(ledger_address, "UPDATE schema_definitions SET digest = 'another'")
    migrate(ledger_address.url)
    assert ask(ledger_address, "SELECT prosecdef FROM pg_proc WHERE proname = 'theirs'") == [(False,)]
    with _role(ledger_address) as (name, address):
        let_service_in(ledger_address.url, name)
        assert ask(address, "SELECT theirs()") == [(1,)]
        assert _refusal(address, "SELECT * FROM their_secrets") == FORBIDDEN


@pytest.mark.anyio
async def test_an_act_has_its_reason_in_a_services_role_too(ledger: Ledger, service_address: Address) -> None:
    """Taken out: the function; the statement wrote into the audit log itself, which a service may not."""
    user_id = await new_user(ledger)
    async with (
        open_ledger(service_address, provider_durability=True) as service,
        acting_for_a_reason(service, user_id, "asked by mail", actor="user:1") as acting,
    ):
        await update_user(acting, user_id, is_admin=True, actor="user:1")
    told = ask(
        ledger.database.address, "SELECT act, actor, details ->> 'reason' FROM audit_log ORDER BY id DESC LIMIT 2"
    )
    assert told == [("reason", "user:1", "asked by mail"), ("user_changed", "user:1", None)]
