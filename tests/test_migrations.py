"""From an empty database to this version's schema: by whichever steps, however often, beside whatever else runs."""

from __future__ import annotations

import asyncio
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from groat_server import migrations
from groat_server.core.outcomes import Outcome
from groat_server.database import Address
from groat_server.embedded.waiting import wait_for
from groat_server.errors import CannotStart
from groat_server.migrations import Migrated, head, migrate
from groat_server.models import Base
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.preparation import prepare
from groat_server.operations.prices import set_price, sync_catalogue
from groat_server.operations.usage import charge
from tests.auditor import audit
from tests.operations.ledgers import ask, connect, new_user, outcomes, rows, use
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Callable

    from groat_server.embedded import Server

DEFINITIONS = (
    "periods",
    "audit",
    "operations",
    "lots",
    "accounts",
    "users",
    "guards",
    "action_types",
    "rollups",
    "charge_batch",
    "charge_one",
    "holds",
    "grants",
    "corrections",
    "anonymise",
    "rollups_reading",
    "views",
)
PATIENCE_SECONDS = 30


def _dump(server: Server, url: str, *options: str) -> str:
    """Return all that makes the database, as SQL."""
    dumped = subprocess.run(
        [server.binaries / "pg_dump", "--no-owner", *options, url], capture_output=True, text=True, check=True
    ).stdout
    # The key of \restrict differs each time.
    return re.sub(r"^\\(un)?restrict .*$", "", dumped, flags=re.MULTILINE)


def _contents(url: str) -> list[list[tuple[Any, ...]]]:
    """Return what a fresh ledger has of rows."""
    address = Address(url)
    return [
        ask(address, "SELECT * FROM ledger_settings"),
        ask(address, "SELECT * FROM price_book"),
        ask(address, "SELECT name, digest FROM schema_definitions ORDER BY name"),
        ask(address, f"SELECT * FROM {migrations.VERSION_TABLE}"),  # noqa: S608 - our own constant
    ]


def _revisions() -> list[str]:
    folder = Path(migrations.__file__).parent / "versions"
    return sorted(path.name.split("_")[0] for path in folder.glob("[0-9]*.py"))


def test_revision_by_revision_is_the_same_as_at_once(server: Server, empty_database: Callable[[], str]) -> None:
    stepwise, at_once = empty_database(), empty_database()
    for revision in _revisions():
        assert migrate(stepwise, to=revision).after == revision
    assert migrate(at_once) == Migrated(before=None, after=head(), definitions=DEFINITIONS)
    assert _dump(server, stepwise, "--schema-only") == _dump(server, at_once, "--schema-only")
    assert _contents(stepwise) == _contents(at_once)


OF_BEFORE_LOTS = """
INSERT INTO users (id, email, period_anchor, created_at)
    SELECT n, 'user-' || n || '@example.com', '2026-01-10T12:00Z', '2026-01-10T12:00Z' FROM generate_series(1, 3) AS n;
INSERT INTO user_emails SELECT email, id FROM users;
INSERT INTO user_credit_balances (user_id, current_balance, monthly_allowance, current_month_consumed, total_consumed,
        period_start, next_reset_at, next_boundary_at, version, last_event_at, last_recorded_at)
    SELECT n, 100 - spent, 100, spent, spent, '2026-01-10T12:00Z', '2026-02-10T12:00Z', '2026-02-10T12:00Z',
        CASE WHEN spent > 0 THEN 2 ELSE 1 END, CASE WHEN spent > 0 THEN TIMESTAMPTZ '2026-01-11T12:00Z' END,
        CASE WHEN spent > 0 THEN TIMESTAMPTZ '2026-01-11T12:00Z' ELSE '2026-01-10T12:00Z' END
    FROM (VALUES (1, 0), (2, 30), (3, 130)) AS account(n, spent);
INSERT INTO credit_ledger_entries (user_id, kind, amount, recorded_at, period_start, balance_after, version)
    SELECT n, 'allowance', 100, '2026-01-10T12:00Z', '2026-01-10T12:00Z', 100, 1 FROM generate_series(1, 3) AS n;
INSERT INTO credit_usage_events (user_id, created_at, recorded_at, version, occurred_at_given, action_type,
        credits_charged, api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after,
        idempotency_key)
    SELECT n, '2026-01-11T12:00Z', '2026-01-11T12:00Z', 2, false, 'unit', spent,
        trim_scale(spent / 10.0), 10, 1, 'fallback', 100 - spent, 100 - spent, 'key'
    FROM (VALUES (2, 30), (3, 130)) AS account(n, spent);
"""


def test_balances_of_before_there_were_lots_get_the_lots_that_explain_them(empty_database: Callable[[], str]) -> None:
    """Credits used before are given back to a lot of their own: nobody knows which allowance they were of.

    The auditor also looks at the roll-ups, which are made from the events. Taken out: `rebuild_rollups` in `prepare`.
    """
    url = empty_database()
    migrate(url, to="0001")
    address = Address(url)
    ask(address, OF_BEFORE_LOTS)
    asyncio.run(prepare(address, provider_durability=True))
    with connect(address) as connection:
        lots = "SELECT user_id, kind, remaining FROM credit_lots WHERE remaining > 0 ORDER BY user_id, id"
        assert rows(connection, lots) == [(1, "allowance", 100), (2, "allowance", 70)]
        debts = "SELECT user_id, first_credit, amount FROM credit_lot_draws WHERE lot_id IS NULL"
        assert rows(connection, debts) == [(3, 100, 30)]
        assert audit(address) == []
        refund = "SELECT outcome, balance FROM refund_event_at('2026-01-20', %s, 'refund', %s, %s, 'late', 'a')"
        assert rows(connection, refund, [2, 1, 10]) == [("refunded", 80)]
        assert rows(connection, refund, [3, 2, 40]) == [("refunded", 10)]
        assert rows(connection, lots) == [
            (1, "allowance", 100),
            (2, "allowance", 70),
            (2, "refund", 10),
            (3, "refund", 10),
        ]
        rows(connection, "SELECT sweep_due_at('2026-02-10T12:00Z', 10)")
        balances = "SELECT current_balance FROM user_credit_balances ORDER BY user_id"
        assert rows(connection, balances) == [(100,), (110,), (110,)]
    assert audit(address) == []


def test_the_migrated_tables_are_those_of_the_models(ledger_address: Address) -> None:
    tables = set(Base.metadata.tables)
    assert {"users", "user_credit_balances", "credit_usage_events"} <= tables
    engine = create_engine(ledger_address.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with engine.connect() as connection:
        options = {
            "compare_type": True,
            "compare_server_default": True,
            "include_object": lambda _object, name, kind, *_: kind != "table" or name in tables,
        }
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    flat = [each for group in differences for each in (group if isinstance(group, list) else [group])]
    # Comments are for who reads the tables; the models have docstrings.
    assert [difference for difference in flat if difference[0] not in {"modify_comment", "remove_table_comment"}] == []


def test_migrating_again_changes_nothing(server: Server, empty_database: Callable[[], str]) -> None:
    url = empty_database()
    migrate(url)
    before = _dump(server, url)
    assert migrate(url) == Migrated(before=head(), after=head(), definitions=())
    assert _dump(server, url) == before


def test_a_changed_definition_is_installed_anew(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    migrate(url)
    expected = _contents(url)
    ask(Address(url), "UPDATE schema_definitions SET digest = 'another' WHERE name = 'periods'")
    assert migrate(url).definitions == ("periods",)
    assert _contents(url) == expected


def test_of_two_runners_at_once_one_migrates(empty_database: Callable[[], str]) -> None:
    """Taken out: the advisory lock; then both find an empty database and one fails."""
    url = empty_database()
    with ThreadPoolExecutor(2) as runners:
        first, second = sorted(runners.map(migrate, [url, url]), key=lambda migrated: migrated.before or "")
    assert first == Migrated(before=None, after=head(), definitions=DEFINITIONS)
    assert second == Migrated(before=head(), after=head(), definitions=())


def test_somebody_elses_users_are_left_alone(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    address = Address(url)
    ask(address, "CREATE TABLE users (name text)")
    with pytest.raises(CannotStart, match=r"'users'.*--schema groat"):
        migrate(url)
    tables = "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'"
    assert ask(address, tables) == [("public.users",)]


@pytest.mark.parametrize(
    "foreign",
    ["TABLE action_types (name text)", "VIEW users AS SELECT 1 AS id", "VIEW v_holds AS SELECT 'theirs' AS id"],
)
def test_whatever_has_a_name_of_ours_is_named(empty_database: Callable[[], str], foreign: str) -> None:
    url = empty_database()
    ask(Address(url), f"CREATE {foreign}")
    with pytest.raises(CannotStart, match=foreign.split()[1]):
        migrate(url)


@pytest.mark.anyio
async def test_a_schema_of_its_own_works_beside_somebody_elses_users(empty_database: Callable[[], str]) -> None:
    """Functions find their tables whatever the caller's search_path is."""
    url = empty_database()
    ask(Address(url), "CREATE TABLE users (name text)")
    migrate(url, schema="groat")
    address = Address(url, "groat")
    async with open_ledger(address, provider_durability=True) as ledger:
        await _stock(ledger)
        user_id = await new_user(ledger)
        receipts = await charge(ledger, [use(user_id, "a", 3), use(user_id, "a", 3)])
    assert outcomes(receipts) == [Outcome.RECORDED, Outcome.REPLAYED]
    assert audit(address) == []
    with psycopg.connect(url, autocommit=True, options="-c search_path=public") as stranger:
        rows(stranger, "UPDATE groat.users SET full_name = 'A. N. Other'")
        rows(stranger, "SELECT groat.settle_account_at(NULL, 1)")
        with pytest.raises(psycopg.Error, match="history"):
            rows(stranger, "DELETE FROM groat.credit_usage_events")


async def _stock(ledger: Ledger) -> None:
    async with ledger.database.write() as connection:
        await sync_catalogue(connection)
        await set_price(connection, kind="action", name="unit", rates={"credits_per_unit": 1})


@pytest.mark.anyio
async def test_charges_go_on_while_a_migration_waits_for_its_lock(ledger: Ledger) -> None:
    """A definition is to be replaced whose triggers need a lock that an open transaction is in the way of.

    A charge that comes after it would queue behind that waiting lock for as long as the transaction lasts.
    Taken out: `SET lock_timeout` in migrate; then the charge is Busy.
    """
    address = ledger.database.address
    users = [await new_user(ledger) for _ in range(2)]
    assert outcomes(await charge(ledger, [use(users[1], "before")])) == [Outcome.RECORDED]
    ask(address, "UPDATE schema_definitions SET digest = 'another' WHERE name = 'guards'")
    waiting = "SELECT pid FROM pg_stat_activity WHERE application_name = 'groat migrate' AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as runner:
        with connect(address) as other, other.transaction():
            rows(other, call([RawCharge(user_ids=users[0], keys="long")]))
            migrated = runner.submit(migrate, address.url)
            assert wait_for(lambda: ask(address, waiting) != [], seconds=PATIENCE_SECONDS)
            for number in range(2):
                assert outcomes(await charge(ledger, [use(users[1], f"{number}")])) == [Outcome.RECORDED]
            assert not migrated.done()
        assert migrated.result(PATIENCE_SECONDS).definitions == ("guards",)
