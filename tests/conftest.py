"""A server for the session, a migrated template, and for each test a ledger of its own that is audited afterwards.

`GROAT_TEST_POSTGRES` names the directory of another PostgreSQL's programs (15 to 18), to run the tests on that.
`GROAT_TEST_DATA` names the data directory of a server that outlives the session: whoever runs the tests again and again
keeps it running, and none of them has to set one up.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from groat_server.database import Address
from groat_server.embedded import Server, hold
from groat_server.migrations import migrate
from groat_server.operations.checks import run_checks
from groat_server.operations.ledger import Ledger, open_ledger
from groat_server.operations.periods import sweep
from groat_server.operations.prices import set_price, sync_catalogue
from tests.auditor import audit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

settings.register_profile(
    "ci", max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", max_examples=500, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# The same tests once more, on another server.
settings.register_profile("brief", settings.get_profile("ci"), max_examples=20)
# A shard of `make campaign`: told by its seed alone.
settings.register_profile(
    "campaign", settings.get_profile("thorough"), max_examples=50, stateful_step_count=50, database=None
)
settings.load_profile(os.environ.get("GROAT_TEST_PROFILE", "ci"))

_UNSAFE = ("fsync", "full_page_writes")
_numbers = count(1)
_EVER = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let the processes that tests start take SIGINT, also where the tests run in the background of a shell.

    Such a shell has the signal ignored, and what is ignored is inherited.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run `async def` tests that are marked `anyio` on asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run PostgreSQL for the session; without what makes it safe where the power is cut, since no test does that."""
    named, kept = os.environ.get("GROAT_TEST_POSTGRES"), os.environ.get("GROAT_TEST_DATA")
    directory = Path(kept) if kept else tmp_path_factory.mktemp("server") / "groat"
    with hold(directory, binaries=Path(named) if named else None, options=dict.fromkeys(_UNSAFE, "off")) as server:
        yield server


@pytest.fixture(scope="session")
def template(server: Server) -> str:
    """Make the database that a test's own is copied from: migrated, with the catalogue and two prices of our own.

    The model `lamp` costs 1 and 2 USD per million tokens; the action `unit` one credit per unit.
    """
    name = _create(server)
    address = _address(server, name)
    migrate(address.url)
    asyncio.run(_stock_prices(address))
    return name


async def _stock_prices(address: Address) -> None:
    async with open_ledger(address, provider_durability=True) as ledger, ledger.database.write() as connection:
        await sync_catalogue(connection)
        await set_price(connection, kind="model", name="lamp", rates={"input": 1, "output": 2}, valid_from=_EVER)
        await set_price(connection, kind="action", name="unit", rates={"credits_per_unit": 1}, valid_from=_EVER)


@pytest.fixture
def empty_database(server: Server) -> Iterator[Callable[[], str]]:
    """Lend a maker of empty databases; it returns their URLs, and they go with the test."""
    names: list[str] = []

    def make() -> str:
        names.append(_create(server))
        return _address(server, names[-1]).url

    yield make
    for name in names:
        _drop(server, name)


@pytest.fixture
def ledger_address(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger of the test's own. When the test is over it is audited, swept to the present and audited again."""
    with fresh_ledger(server, template) as address:
        yield address


@pytest.fixture
async def ledger(ledger_address: Address) -> AsyncIterator[Ledger]:
    """Lend the test's ledger, open."""
    async with open_ledger(ledger_address, provider_durability=True) as opened:
        yield opened


@contextmanager
def fresh_ledger(server: Server, template: str) -> Iterator[Address]:
    """Copy the template for as long as the block lasts; audit what became of it."""
    name = _create(server, template)
    try:
        address = _address(server, name)
        yield address
        assert audit(address) == []
        swept, findings = asyncio.run(_sweep_and_check(address))
        assert findings == []
        assert not swept or audit(address) == []
    finally:
        _drop(server, name)


async def _sweep_and_check(address: Address) -> tuple[int, list[str]]:
    """Carry out what is due, then run the ledger's own checks, of which one must find what tests leave unsafe."""
    async with open_ledger(address, provider_durability=True) as ledger:
        return await sweep(ledger), [
            f"{check.name}: {finding.subject} {finding.finding}"
            for check in await run_checks(ledger)
            if check.verdict == "fail"
            for finding in check.findings
            if not (check.name == "durable" and finding.subject in _UNSAFE)
        ]


def _create(server: Server, template: str = "template1") -> str:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.socket_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    return name


def _drop(server: Server, name: str) -> None:
    with psycopg.connect(server.socket_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _address(server: Server, name: str) -> Address:
    return Address(urlsplit(server.socket_url)._replace(path=f"/{name}").geturl())
