"""The views that other tools read: what they show, who may read them, and that their page describes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from groat_server.errors import CannotStart
from groat_server.migrations import let_reader_in, let_service_in, migrate
from groat_server.operations.reports import overview, run_report
from groat_server.operations.users import list_users
from tests.operations.eventful import Eventful, make_eventful
from tests.operations.ledgers import ask, connect, rows
from tests.operations.test_service_role import FORBIDDEN, _refusal, _role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

PAGE = Path(__file__).parents[2] / "docs/views.md"
VIEWS = (
    "v_holds",
    "v_ledger_entries",
    "v_lots",
    "v_price_versions",
    "v_usage_daily",
    "v_usage_events",
    "v_usage_hourly",
    "v_user_balances",
    "v_user_usage_daily",
)
_COLUMNS = """
SELECT class.relname::text, attribute.attname::text, format_type(attribute.atttypid, attribute.atttypmod),
    col_description(class.oid, attribute.attnum)
FROM pg_class AS class
JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attribute.attnum > 0
WHERE class.relkind = 'v' AND class.relnamespace = 'public'::regnamespace
ORDER BY class.relname, attribute.attnum
"""


@pytest.fixture
def cast(ledger_address: Address) -> Iterator[Eventful]:
    """Lend a ledger in which everything has happened."""
    with connect(ledger_address) as connection:
        yield make_eventful(connection)


@pytest.fixture
def reader(ledger_address: Address) -> Iterator[tuple[str, Address]]:
    """Lend a role that was let in to read, with the ledger's address as that role's."""
    with _role(ledger_address) as (name, address):
        let_reader_in(ledger_address.url, name)
        yield name, address


def described() -> list[tuple[str, str, str, str]]:
    """Return what the page says: view, column, type and meaning, in its order."""
    found = []
    for section in PAGE.read_text().split("\n## ")[1:]:
        name = re.match(r"`(v_\w+)`\n", section)
        if name is not None:
            lines = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (.+) \|$", section, re.MULTILINE)
            found += [(name[1], column, kind, text) for column, kind, text in lines]
    return found


def test_the_page_has_every_view_and_column_as_the_database_does(ledger_address: Address) -> None:
    columns = ask(ledger_address, _COLUMNS)
    assert sorted({name for name, *_ in columns}) == list(VIEWS)
    assert sorted(described()) == sorted(columns)
    for view in VIEWS:  # and in its order
        assert [column for name, column, *_ in described() if name == view] == [
            column for name, column, *_ in columns if name == view
        ]
    comments = ask(
        ledger_address,
        "SELECT obj_description(oid) FROM pg_class WHERE relkind = 'v' AND relname ~ '^v_' ORDER BY relname",
    )
    text = " ".join(PAGE.read_text().split())
    assert [comment for (comment,) in comments if comment is None or comment not in text] == []


def test_columns_stand_where_they_stood_when_they_were_published(ledger_address: Address) -> None:
    """They are public interface: a new column comes last, and this list grows at its end."""
    first = {"v_usage_events": "id user_id email created_at recorded_at", "v_user_balances": "user_id email full_name"}
    columns = ask(ledger_address, _COLUMNS)
    for view, names in first.items():
        found = [column for name, column, *_ in columns if name == view]
        assert found[: len(names.split())] == names.split()


def test_a_reader_may_read_the_views_and_nothing_else(
    ledger_address: Address, cast: Eventful, reader: tuple[str, Address]
) -> None:
    """Taken out: the taking away of what the role had; then it still reads the tokens."""
    name, address = reader
    for view in VIEWS:
        owner, other = (ask(each, f"SELECT count(*) FROM {view}") for each in (ledger_address, address))  # noqa: S608 - our own
        assert owner == other > [(0,)], view
        for statement in (f"DELETE FROM {view}", f"INSERT INTO {view} SELECT * FROM {view}", f"DROP VIEW {view}"):  # noqa: S608 - our own
            assert _refusal(address, statement) is not None, statement
    assert _refusal(address, "UPDATE v_price_versions SET note = ''") == FORBIDDEN
    tables = ask(ledger_address, "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
    assert len(tables) > 20
    for (table,) in tables:
        for verb in ("SELECT count(*) FROM", "DELETE FROM", "TRUNCATE", "LOCK TABLE"):
            assert _refusal(address, f"{verb} {table}") == FORBIDDEN, (verb, table)
    functions = ask(
        ledger_address, "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
    )
    for (function,) in functions:
        assert ask(address, "SELECT has_function_privilege(%s, 'EXECUTE')", [function]) == [(False,)], function
    assert _refusal(address, "CREATE TABLE mine (id int)") == FORBIDDEN
    with connect(ledger_address) as owner_connection:
        rows(owner_connection, f"GRANT SELECT ON access_tokens TO {name}")
        assert _refusal(address, "SELECT token_hash FROM access_tokens") is None
        let_reader_in(ledger_address.url, name)
        assert _refusal(address, "SELECT token_hash FROM access_tokens") == FORBIDDEN
    assert cast.demo


def test_migrations_keep_a_reader_in_and_do_not_take_it_for_a_service(
    ledger_address: Address, reader: tuple[str, Address]
) -> None:
    """Taken out: reader_roles in the installer; then a view that a new version brings is closed to who reads."""
    name, address = reader
    ask(ledger_address, f"REVOKE SELECT ON v_holds FROM {name}")  # noqa: S608 - our own
    assert _refusal(address, "SELECT FROM v_holds") == FORBIDDEN
    ask(ledger_address, "UPDATE schema_definitions SET digest = 'another' WHERE name = 'views'")
    migrate(ledger_address.url)
    assert _refusal(address, "SELECT FROM v_holds") is None
    assert _refusal(address, "SELECT FROM users") == FORBIDDEN


def test_a_service_may_read_the_views_and_is_no_reader(ledger_address: Address) -> None:
    with _role(ledger_address) as (name, address):
        let_service_in(ledger_address.url, name)
        ask(ledger_address, "UPDATE schema_definitions SET digest = 'another'")
        migrate(ledger_address.url)
        assert _refusal(address, "SELECT FROM v_lots") is None
        assert _refusal(address, "SELECT FROM users") is None


def test_a_reader_must_exist_and_not_own_the_tables(ledger_address: Address) -> None:
    with pytest.raises(CannotStart, match="CREATE ROLE nobody"):
        let_reader_in(ledger_address.url, "nobody")
    owner = ask(ledger_address, "SELECT current_user::text")[0][0]
    with pytest.raises(CannotStart, match="superuser"):
        let_reader_in(ledger_address.url, owner)


@pytest.mark.anyio
async def test_the_views_say_what_the_reports_do(ledger: Ledger, cast: Eventful) -> None:
    """Taken out: the open day in v_user_usage_daily; the slots' sum in v_usage_hourly."""
    address = ledger.database.address
    total, _ = await overview(ledger, days=366)
    asked = "SELECT sum(events), sum(credits), sum(refunded_credits), sum(api_cost_dollars) FROM {}"
    expected = (total.event_count, total.total_credits, total.refunded_credits, total.total_api_cost_dollars)
    for view in ("v_usage_hourly", "v_usage_daily"):
        assert ask(address, asked.format(view)) == [expected]
    assert ask(address, "SELECT count(*), sum(credits), sum(refunded_credits) FROM v_usage_events") == [expected[:3]]
    assert ask(address, "SELECT sum(events), sum(credits) FROM v_user_usage_daily") == [expected[:2]]
    by_hour = "SELECT hour, action_type, model, count(*) FROM {} GROUP BY 1, 2, 3 HAVING count(*) > 1"
    assert ask(address, by_hour.format("v_usage_hourly")) == []
    shown: list[Any] = await list_users(ledger, limit=500)
    people = {row.id: row for row in shown}
    for user_id, balance, held, available in ask(
        address, "SELECT user_id, balance, held, available FROM v_user_balances"
    ):
        person = people[user_id]
        if person.current_balance is None:
            assert (user_id, balance, held, available) == (cast.demo, None, None, None)
        else:
            assert (balance, held, available) == (person.current_balance, person.held, person.available)
    holds = await run_report(ledger, "user-holds", user=cast.cay)
    open_holds = "SELECT id FROM v_holds WHERE state = 'open' AND user_id = %s ORDER BY expires_at, id"
    assert [hold.id for hold in holds] == [name for (name,) in ask(address, open_holds, [cast.cay])]


def test_a_view_reads_no_more_than_it_is_asked_for(ledger_address: Address, cast: Eventful) -> None:
    """A chart over events meets neither users nor refunds unless it shows them. Taken out: LEFT in v_usage_events."""
    plan = "EXPLAIN SELECT created_at, credits FROM v_usage_events WHERE created_at > now() - interval '1 day'"
    text = "\n".join(line for (line,) in ask(ledger_address, plan))
    assert "credit_usage_events" in text, cast
    assert "users" not in text
    assert "credit_ledger_entries" not in text


@pytest.mark.anyio
async def test_a_schema_of_its_own_has_views_that_need_no_search_path(server_database: str) -> None:
    migrate(server_database, schema="groat")
    with psycopg.connect(server_database, autocommit=True, options="-c search_path=public") as stranger:
        assert rows(stranger, "SELECT count(*) FROM groat.v_user_balances") == [(0,)]
        assert rows(stranger, "SELECT count(*) FROM groat.v_lots") == [(0,)]


@pytest.fixture
def server_database(empty_database: Any) -> str:
    """Make an empty database."""
    url: str = empty_database()
    return url
