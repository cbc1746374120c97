"""Carrying out what is due: resets today; whatever else changes a balance by the clock alone, later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groat_server.core.rows import Count
from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

_SWEEP = Statement("periods/sweep", Count)
_BATCH = 500


async def sweep(ledger: Ledger) -> int:
    """Roll every user whose boundary has passed, in short transactions; returns how many there were.

    Harmless in many processes at once: whoever is locked is being rolled by another.
    """
    swept = 0
    while True:
        async with ledger.database.write() as connection:
            rolled = (await _SWEEP.one(connection, batch=_BATCH)).count
        swept += rolled
        if rolled < _BATCH:
            return swept
