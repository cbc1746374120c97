"""The audit log: who did what by way of administration. The database writes it, by whatever path an act comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groat_server.core.rows import AuditRow
from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

_LIST = Statement("audit/list", AuditRow)


async def list_acts(
    ledger: Ledger,
    *,
    user_id: int | None = None,
    act: str | None = None,
    actor: str | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[AuditRow]:
    """List acts, newest first, from the one before the id `before`: of one user, one kind, one actor, or all."""
    async with ledger.database.read() as connection:
        return await _LIST.all(connection, user_id=user_id, act=act, actor=actor, before=before, limit=limit)
