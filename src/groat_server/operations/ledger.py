"""What a process needs to work on a ledger: its connections, and what it remembers of the price book."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from groat_server.database import Address, Connection, Database, check_server
from groat_server.errors import CannotStart
from groat_server.migrations import is_current
from groat_server.operations import prices
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from groat_server.core.price_book import PriceBook, PriceVersion

_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 10
_BOOK_VERSION = Statement("prices/book_version", prices.BookVersion)


@dataclass(slots=True)
class Ledger:
    """One process's view of the ledger. The price book and the action types are copies that the database checks."""

    database: Database
    server_version: str = ""
    provider_durability: bool = False
    action_types: set[str] = field(default_factory=set)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _book: PriceBook | None = None
    _versions: dict[int, PriceVersion] = field(default_factory=dict)

    # These take the connection of their caller: one who held a connection and waited for another would, among enough of
    # the same kind, wait for ever.

    async def book(self, connection: Connection) -> PriceBook:
        """Return the price book as last read."""
        return self._book or await self.newer_book(connection, None)

    async def current_book(self, connection: Connection) -> PriceBook:
        """Return the price book as it is now; read anew only where it has changed."""
        current = await _BOOK_VERSION.one(connection)
        book = await self.book(connection)
        return book if book.version == current.version else await self.newer_book(connection, book)

    async def newer_book(self, connection: Connection, stale: PriceBook | None) -> PriceBook:
        """Read the price book anew, unless somebody has done so since `stale` was found to be stale."""
        async with self._reading:
            if self._book is None or self._book is stale:
                self._book = await prices.load_book(connection)
                self._versions = {version.id: version for version in self._book.versions}
            return self._book

    async def price_version(self, connection: Connection, price_id: int | None) -> PriceVersion | None:
        """Return the price version that a charge has pinned; read anew where a newer book made it."""
        if price_id is None:
            return None
        if price_id not in self._versions:
            await self.newer_book(connection, self._book)
        return self._versions[price_id]


@asynccontextmanager
async def open_ledger(address: Address, *, provider_durability: bool = False) -> AsyncIterator[Ledger]:
    """Open the ledger at `address`.

    Raises CannotStart where the server or its schema are not what this version needs.
    """
    async with await _connected(address) as connection:
        version = await check_server(connection, provider_durability=provider_durability)
        await _check_schema(connection, address.schema)
    if provider_durability:
        _log.warning("durability is left to the provider: GROAT_DURABILITY=provider")
    async with Database(address) as database:
        yield Ledger(database, version, provider_durability)


async def _connected(address: Address) -> Connection:
    """Connect once, outside the pools, which would try again and again where a name or a password is wrong."""
    try:
        return await psycopg.AsyncConnection.connect(
            address.url, options=address.options(), autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
    except psycopg.Error as error:
        raise CannotStart(f"Cannot connect to the database: {str(error).strip()}") from error


async def _check_schema(connection: Connection, schema: str) -> None:
    if not await is_current(connection, schema):
        raise CannotStart("The database does not have the schema of this version of Groat: run `groat db migrate`.")
