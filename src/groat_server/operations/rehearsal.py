"""Operations on one connection: tried out and taken back, or done together with the reason for them.

A person who acts by hand is shown beforehand what will come of it. That is not worked out a second time: it is done by
the operation itself, in a transaction that is rolled back.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from groat_server.core.rows import UserId
from groat_server.database import Database, translated_errors
from groat_server.operations.booking import Turns
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger

_SAY_WHY = Statement("audit/say_why", UserId)


@asynccontextmanager
async def rehearsing(ledger: Ledger) -> AsyncIterator[Ledger]:
    """Lend a ledger on which everything is done as ever, and nothing is kept.

    The balance is locked meanwhile, as by the act itself.
    """
    async with ledger.database.write() as connection, connection.transaction(force_rollback=True):
        yield _bound(ledger, connection)


@asynccontextmanager
async def acting_for_a_reason(ledger: Ledger, user_id: int, reason: str, *, actor: str) -> AsyncIterator[Ledger]:
    """Lend a ledger whose acts are one transaction; the audit log has the reason beside them."""
    async with ledger.database.act(actor) as connection:
        yield _bound(ledger, connection)
        await _SAY_WHY.one(connection, user_id=user_id, reason=reason)


class _OneConnection(Database):
    """Lends one connection, whoever asks; what it is in the middle of goes on."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self.address = database.address
        self._connection = connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """Lend the connection."""
        with translated_errors():
            yield self._connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Lend the connection."""
        async with self.write() as connection:
            yield connection

    @asynccontextmanager
    async def snapshot(self, *, statement_timeout: str | None = None) -> AsyncIterator[Connection]:  # noqa: ARG002 - the transaction has its own
        """Lend the connection."""
        async with self.write() as connection:
            yield connection


def _bound(ledger: Ledger, connection: Connection) -> Ledger:
    # Turns of its own: who has a connection must not wait for one who waits for a connection. The database locks.
    return replace(ledger, database=_OneConnection(ledger.database, connection), turns=Turns())
