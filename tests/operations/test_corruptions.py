"""The checks find injected drift, name exactly what it hurt, fire for nothing else, and repair nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from groat_server.operations.checks import CHECKS
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
def connection(address: Address, people: Eventful) -> Iterator[Connection]:
    """Lend a connection to it whose statements may be several at once."""
    assert people.ann
    with psycopg.connect(
        address.url, options=address.options(), autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        yield connection


@pytest.fixture(scope="module")
def before(connection: Connection) -> Subjects:
    """Say what the checks find in the books as they are: nothing that is wrong with them."""
    found = subjects(connection)
    assert found == {"durable": {"fsync"}, "service_role": {"groat"}}
    return found


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
    return {
        table: str(connection.execute(f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t".encode())  # noqa: S608 - our own tables
        .fetchone()) for (table,) in tables
    }


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
        hurt = digests(connection)
        found = subjects(connection)
        assert digests(connection) == hurt
    expected = {
        check: {template.format(**picked) for template in templates} | before.get(check, set())
        for check, templates in corruption.found.items()
    }
    assert found == before | expected


def test_every_check_finds_some_corruption() -> None:
    found = {check for corruption in CORRUPTIONS for check in corruption.found}
    assert set(CHECKS) - found == {"service_role"}  # tests/operations/test_service_role.py
