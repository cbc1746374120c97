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
from groat_server.operations.batching import Batcher
from groat_server.operations.booking import Turns
from groat_server.settings import QueueSettings
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from groat_server.core.price_book import PriceBook, PriceVersion

_log = logging.getLogger(__name__)
_CONNECT_SECONDS = 10
_FILES_AT_A_TIME = 2  # of the connections for reading
_BOOK_VERSION = Statement("prices/book_version", prices.BookVersion)


@dataclass(slots=True)
class Ledger:
    """One process's view of the ledger. The price book and the action types are copies that the database checks."""

    database: Database
    server_version: str = ""
    provider_durability: bool = False
    queue: QueueSettings = field(default_factory=QueueSettings)
    action_types: set[str] = field(default_factory=set)
    file_turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_FILES_AT_A_TIME))
    turns: Turns = field(default_factory=Turns)
    batcher: Batcher = field(init=False)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    _book: PriceBook | None = None
    _versions: dict[int, PriceVersion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Be ready to charge."""
        self.batcher = Batcher(self, self.queue)

    @property
    def versions(self) -> Mapping[int, PriceVersion]:
        """The price versions as last read, by id."""
        return self._versions

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
        for _ in range(2):  # the first reading may have begun before this price was there
            if price_id in self._versions:
                break
            await self.newer_book(connection, self._book)
        return self._versions.get(price_id)


@asynccontextmanager
async def open_ledger(
    address: Address, *, provider_durability: bool = False, queue: QueueSettings | None = None
) -> AsyncIterator[Ledger]:
    """Open the ledger at `address`; charges that were taken are written before it closes.

    Raises CannotStart where the server or its schema are not what this version needs.
    """
    async with await _connected(address) as connection:
        version = await check_server(connection, provider_durability=provider_durability)
        await _check_schema(connection, address.schema)
    if provider_durability:
        _log.warning("durability is left to the provider: GROAT_DURABILITY=provider")
    async with Database(address) as database:
        ledger = Ledger(database, version, provider_durability, queue or QueueSettings())
        try:
            yield ledger
        finally:
            await ledger.batcher.close()


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
