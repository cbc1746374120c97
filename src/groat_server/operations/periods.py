"""Carrying out what is due by the clock alone: resets, lots that start or expire, holds that have expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groat_server.core.rows import Count
from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

_SWEEP = Statement("periods/sweep", Count)
_SWEEP_HOLDS = Statement("periods/sweep_holds", Count)
_BATCH = 500


async def sweep(ledger: Ledger) -> int:
    """Roll every user whose boundary has passed, in short transactions; returns how many there were.

    Harmless in many processes at once: whoever is locked is being rolled by another.
    """
    swept = await _in_batches(ledger, _SWEEP)
    await _in_batches(ledger, _SWEEP_HOLDS)
    return swept


async def _in_batches(ledger: Ledger, statement: Statement[Count]) -> int:
    swept = 0
    while True:
        async with ledger.database.write() as connection:
            found = (await statement.one(connection, batch=_BATCH)).count
        swept += found
        if found < _BATCH:
            return swept
