"""One verb on one balance: in its turn, and not at all while somebody else keeps the balance locked.

Charges are not among these verbs: they go through the batcher.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from psycopg.errors import LockNotAvailable

from groat_server.core.outcomes import OPERATION_DETAILS, OperationOutcome
from groat_server.database import RETRY_AFTER
from groat_server.errors import Busy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger

_LOCKED_SECONDS = 1.0


class Turns:
    """Whose turn it is on a balance in this process, and which balances were found locked a moment ago."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._locked: dict[int, float] = {}

    def turn(self, user_id: int) -> asyncio.Lock:
        """Return the turn on this balance.

        Verbs of one user would wait for one another in the database all the same, each with a connection that others
        need.
        """
        return self._turns.setdefault(user_id, asyncio.Lock())

    def note_locked(self, user_id: int) -> None:
        """Remember for a moment that somebody keeps this balance locked: nobody need wait for it meanwhile."""
        now = time.monotonic()
        self._locked = {user: until for user, until in self._locked.items() if until > now}
        self._locked[user_id] = now + _LOCKED_SECONDS

    def is_locked(self, user_id: int) -> bool:
        """Whether this balance was found locked a moment ago."""
        now = time.monotonic()
        return self._locked.get(user_id, now) > now


@asynccontextmanager
async def booking(ledger: Ledger, user_id: int) -> AsyncIterator[Connection]:
    """Lend a connection for a verb on this user's balance.

    Raises Busy where the balance was found locked, now or a moment ago: whoever comes next need not wait as well.
    """
    async with ledger.turns.turn(user_id):
        if ledger.turns.is_locked(user_id):
            raise Busy(OPERATION_DETAILS[OperationOutcome.BUSY], headers=RETRY_AFTER)
        async with ledger.database.write() as connection:
            try:
                yield connection
            except LockNotAvailable:
                ledger.turns.note_locked(user_id)
                raise
