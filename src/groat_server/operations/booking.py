"""One verb on one balance: in its turn, and not at all while somebody else keeps the balance locked."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from psycopg.errors import LockNotAvailable

from groat_server.core.outcomes import OPERATION_DETAILS, OperationOutcome
from groat_server.database import RETRY_AFTER
from groat_server.errors import Busy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger


@asynccontextmanager
async def booking(ledger: Ledger, user_id: int) -> AsyncIterator[Connection]:
    """Lend a connection for a verb on this user's balance.

    Raises Busy where the balance was found locked, now or a moment ago: whoever comes next need not wait as well.
    """
    async with ledger.turn({user_id}):
        if ledger.is_locked({user_id}):
            raise Busy(OPERATION_DETAILS[OperationOutcome.BUSY], headers=RETRY_AFTER)
        async with ledger.database.write() as connection:
            try:
                yield connection
            except LockNotAvailable:
                ledger.note_locked({user_id})
                raise
