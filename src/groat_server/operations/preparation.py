"""Making a database a ledger: its schema, and the first prices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from groat_server.migrations import Migrated, migrate
from groat_server.operations.ledger import open_ledger
from groat_server.operations.prices import show_pricing, sync_catalogue
from groat_server.operations.rollups import rebuild_rollups

if TYPE_CHECKING:
    from groat_server.database import Address

_ROLL_UPS_SINCE = "0003"


async def prepare(address: Address, *, provider_durability: bool = False) -> Migrated:
    """Bring the database at `address` to this version's schema, and give a new ledger the catalogue's prices.

    A ledger of before there were roll-ups gets them from its events.
    Prices that are there are left alone: a newer catalogue is taken over by `price sync`, never on the way. Raises
    CannotStart.
    """
    migrated = await asyncio.to_thread(migrate, address.url, schema=address.schema)
    async with open_ledger(address, provider_durability=provider_durability) as ledger:
        async with ledger.database.write() as connection:
            if (await show_pricing(connection)).catalogue_version is None:
                await sync_catalogue(connection)
        if migrated.before is not None and migrated.before < _ROLL_UPS_SINCE:
            await rebuild_rollups(ledger)
    return migrated
