"""A charge that is killed between any two of its writes: all of it is there afterwards or nothing; a retry tells."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.database import Address
from groat_server.embedded import hold
from groat_server.embedded.waiting import wait_for
from groat_server.migrations import migrate
from tests.auditor import audit
from tests.operations.account import SqlAccount, day
from tests.operations.ledgers import ask, connect
from tests.operations.psql import waits_for_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITES = [
    ("INSERT", "credit_usage_events"),
    ("UPDATE", "user_credit_balances"),
    ("INSERT", "credit_alerts"),
    ("UPDATE", "credit_holds"),
]
_STOP = """
CREATE FUNCTION stop_here() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END $$;
CREATE TRIGGER stop_here AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION stop_here();
"""


@pytest.fixture(scope="module")
def own_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """Run a server of the module's own: killing one backend restarts them all."""
    with hold(tmp_path_factory.mktemp("killed") / "groat") as server:
        address = Address(server.socket_url)
        migrate(address.url)
        yield address


@pytest.mark.parametrize(("event", "table"), WRITES)
def test_a_capture_killed_after_any_of_its_writes_leaves_nothing_and_can_be_repeated(
    own_address: Address, event: str, table: str
) -> None:
    ask(own_address, "UPDATE ledger_settings SET alert_below = '{50}'")
    with connect(own_address) as connection:
        account = SqlAccount.open(connection)
        hold_id = account.hold("hold", 60, day(1))["hold_id"]
    before = _state(own_address, account.user_id)
    with connect(own_address) as blocker, connect(own_address) as victim, ThreadPoolExecutor(1) as thread:
        blocker.execute("SELECT pg_advisory_lock(42)")
        ask(own_address, _STOP.format(event=event, table=table))
        stopped = SqlAccount(victim, account.user_id)
        answer = thread.submit(stopped.charge, "use", 70, day(1), holds=hold_id)
        assert waits_for_lock(own_address, victim.info.backend_pid)
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            answer.result(timeout=10)
    assert wait_for(lambda: _answers(own_address), seconds=20)
    ask(own_address, "DROP FUNCTION stop_here CASCADE")

    assert _state(own_address, account.user_id) == before
    assert audit(own_address) == []
    with connect(own_address) as connection:
        repeated = SqlAccount(connection, account.user_id).charge("use", 70, day(1), holds=hold_id)
    assert (repeated["outcome"], repeated["balance"], repeated["held"]) == ("recorded", 30, 0)
    assert ask(own_address, "SELECT count(*) FROM credit_alerts WHERE user_id = %s", [account.user_id]) == [(1,)]
    assert audit(own_address) == []


def _answers(address: Address) -> bool:
    """Whether the server is there again."""
    try:
        return ask(address, "SELECT 1") == [(1,)]
    except psycopg.OperationalError:
        return False


def _state(address: Address, user_id: int) -> list[object]:
    """Return all that a capture writes of a user."""
    tables = ("credit_usage_events", "user_credit_balances", "credit_holds", "credit_alerts", "credit_ledger_entries")
    return [
        ask(address, f"SELECT t::text FROM {table} AS t WHERE user_id = %s ORDER BY 1", [user_id])  # noqa: S608 - our tables
        for table in tables
    ]
