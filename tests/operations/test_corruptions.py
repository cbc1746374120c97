"""The checks find injected drift, name exactly what it hurt, fire for nothing else, and repair nothing."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from groat_server.operations.checks import CHECKS, FINDINGS_MAX, run_checks
from groat_server.operations.ledger import open_ledger
from groat_server.sql import source
from tests.conftest import fresh_ledger
from tests.operations.corruptions import CORRUPTIONS, Corruption
from tests.operations.eventful import Eventful, make_eventful
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from groat_server.database import Address
    from groat_server.embedded import Server

Connection = psycopg.Connection[Any]
Subjects = dict[str, set[str]]


@pytest.fixture(scope="module")
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger in which everything has happened. At the end it is audited, and all of its checks must pass."""
    with fresh_ledger(server, template) as address:
        yield address


@pytest.fixture(scope="module")
def people(address: Address) -> Eventful:
    """Say who is in it."""
    with connect(address) as connection:
        return make_eventful(connection)


@pytest.fixture(scope="module")
def before(address: Address, people: Eventful) -> Subjects:
    """Say what the checks find in the books as they are: nothing that is wrong with them."""
    assert people.ann
    with connect(address) as connection:
        found = subjects(connection)
    assert found == {"durable": {"fsync", "full_page_writes"}, "service_role": {"groat"}}
    return found


@pytest.fixture
def connection(address: Address) -> Iterator[Connection]:
    """Lend a connection whose statements may be several at once."""
    with psycopg.connect(
        address.url, options=address.options(), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        yield connection


def subjects(connection: Connection) -> Subjects:
    """Return what each check names, of those that find anything."""
    found: Subjects = defaultdict(set)
    for check in CHECKS:
        for subject, _ in connection.execute(source(f"checks/{check}")).fetchall():
            found[check].add(subject)
    return dict(found)


def digests(connection: Connection) -> Mapping[str, str]:
    """Return a digest of all rows of each table."""
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    query = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t"
    return {table: str(connection.execute(query.format(table).encode()).fetchall()) for (table,) in tables}


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name.replace(" ", "-"))
def test_a_corruption_is_found_and_named_by_the_checks_that_it_concerns(
    connection: Connection, people: Eventful, before: Subjects, corruption: Corruption
) -> None:
    with connection.transaction(force_rollback=True):
        with connection.cursor(row_factory=dict_row) as cursor:
            (picked,) = cursor.execute(corruption.pick.encode(), asdict(people)).fetchall()
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(corruption.deed.encode(), picked)
        if "session_replication_role" not in corruption.deed:
            connection.execute("SET LOCAL session_replication_role = origin")
        connection.execute("SET TRANSACTION READ ONLY")
        found = subjects(connection)
    expected = {
        check: {template.format(**picked) for template in templates} | before.get(check, set())
        for check, templates in corruption.found.items()
    }
    assert found == before | expected


@pytest.mark.anyio
async def test_a_run_tells_what_is_broken_and_repairs_nothing(
    address: Address, server: Server, people: Eventful
) -> None:
    with copy_of(address, server) as copy, connect(copy, session_replication_role="replica") as connection:
        connection.execute("UPDATE user_credit_balances SET total_consumed = total_consumed + 1")
        connection.execute("UPDATE credit_usage_events SET multiplier = 2 WHERE cost_source = 'fallback'")
        connection.execute(
            "UPDATE credit_holds SET state = 'open' WHERE user_id = %s AND state = 'expired'", [people.cay]
        )
        hurt = digests(connection)
        async with open_ledger(copy, provider_durability=True) as ledger:
            first, second = await run_checks(ledger), await run_checks(ledger)
        assert first == second
        assert digests(connection) == hurt
    results = {result.name: result for result in first}
    assert [result.name for result in first] == list(CHECKS)
    assert {name for name, result in results.items() if result.verdict == "fail"} == {
        "total_consumed", "cost_validation", "no_hold_past_life",
    }  # fmt: skip
    assert {name for name, result in results.items() if result.verdict == "warn"} == {"durable", "service_role"}
    assert (results["total_consumed"].count, len(results["total_consumed"].findings)) == (7, 7)
    assert results["cost_validation"].count > FINDINGS_MAX == len(results["cost_validation"].findings)
    assert all(result.count == 0 for result in first if result.verdict == "pass")


@contextmanager
def copy_of(address: Address, server: Server) -> Iterator[Address]:
    """Copy a ledger that nobody is connected to, for as long as the block lasts."""
    name = f"{urlsplit(address.url).path[1:]}_copy"
    with psycopg.connect(server.socket_url, autocommit=True) as connection:
        template = sql.Identifier(urlsplit(address.url).path[1:])
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        try:
            yield replace(address, url=urlsplit(address.url)._replace(path=f"/{name}").geturl())
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_the_guards_that_are_listed_are_all_there_are(address: Address, people: Eventful) -> None:
    """Whoever adds a trigger, a constraint or a unique index adds it to guards_in_place.sql."""
    listed = source("checks/guards_in_place")
    with connect(address) as connection:
        made = connection.execute(
            """
            SELECT tgname || ' ' || proname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal
            UNION
            SELECT conname FROM pg_constraint
            WHERE contype IN ('c', 'f', 'p', 'u') AND connamespace = 'public'::regnamespace AND conrelid <> 0
            UNION
            SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE indisunique AND relnamespace = 'public'::regnamespace
            UNION
            SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            """
        ).fetchall()
    assert people.ann
    assert [name for (name,) in made if f"'{name}'" not in listed and not name.startswith("groat_schema_version")] == []


def test_every_check_finds_some_corruption() -> None:
    found = {check for corruption in CORRUPTIONS for check in corruption.found}
    assert set(CHECKS) - found == {"service_role"}  # tests/operations/test_service_role.py
