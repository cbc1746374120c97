"""What a user's balance is made of: lots and ledger entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groat_server.core.rows import Count, EntryRow, LotRow
from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

_SETTLE = Statement("users/settle", Count)
_LOTS = Statement("lots/list", LotRow)
_ENTRIES = Statement("ledger/list", EntryRow)


async def settle(ledger: Ledger, user_id: int) -> None:
    """Carry out what is due for one user, so that what is read next is as of now."""
    async with ledger.database.write() as connection:
        await _SETTLE.one(connection, user_id=user_id)


async def list_lots(ledger: Ledger, user_id: int, *, before_id: int | None = None, limit: int = 50) -> list[LotRow]:
    """List a user's lots, newest first, from the one before `before_id`, each with what is left of it as of now."""
    await settle(ledger, user_id)
    async with ledger.database.read() as connection:
        return await _LOTS.all(connection, user_id=user_id, before_id=before_id, limit=limit)


async def list_entries(
    ledger: Ledger, user_id: int, *, before_version: int | None = None, limit: int = 50
) -> list[EntryRow]:
    """List a user's ledger entries, newest first, from the one before `before_version`."""
    await settle(ledger, user_id)
    async with ledger.database.read() as connection:
        return await _ENTRIES.all(connection, user_id=user_id, before_version=before_version, limit=limit)
