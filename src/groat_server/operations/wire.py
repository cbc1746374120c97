"""One connection on which few statements run very often: prepared once, few microseconds a call, no cursor in between.

psycopg connects, and knows what an error is and how a value is read; what it does for each call beside that (looking up
how to write each parameter, timers while it waits) costs more than the rest of a single charge.
"""

from __future__ import annotations

import asyncio
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import DataError, OperationalError
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.types.string import TextLoader

from groat_server.database import connect
from groat_server.sql import numbered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from psycopg.pq.abc import PGresult

    from groat_server.database import Address, Connection

_UTF8 = "utf-8"
_GOOD = {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}


@dataclass(frozen=True, slots=True)
class _Reading:
    """How values are read: amounts and times stay text, which most answers are never asked for."""

    adapters: AdaptersMap
    connection: psycopg.AsyncConnection[Any]


class Wire:
    """Runs statements on a connection that nobody else uses meanwhile.

    `prepares` tells whether they are prepared: not on a connection that is lent to others afterwards.
    """

    def __init__(self, connection: Connection, *, prepares: bool = False) -> None:
        self.connection = connection
        adapters = AdaptersMap(connection.adapters)
        for kind in ("numeric", "timestamptz"):
            adapters.register_loader(kind, TextLoader)
        self._transformer = Transformer(_Reading(adapters, connection))
        self._pgconn = connection.pgconn
        self._unasked = select.poll()
        self._unasked.register(self._pgconn.socket, select.POLLIN)
        self._prepares = prepares
        self._prepared: set[str] = set()

    @classmethod
    async def open(cls, address: Address, *settings: str) -> Self:
        """Connect, with these settings of the server. Raises OperationalError."""
        return cls(await connect(address, *settings), prepares=True)

    def close(self) -> None:
        """Close the connection, whatever it is doing."""
        self._pgconn.finish()

    def is_good(self) -> bool:
        """Tell whether the connection can take a statement.

        Not where the server has said something meanwhile: that it ends, in all likelihood.
        """
        if self.connection.closed or self._pgconn.transaction_status != TransactionStatus.IDLE:
            return False
        return not self._unasked.poll(0)

    async def rows(self, name: str, values: Mapping[str, str | None]) -> list[tuple[Any, ...]]:
        """Run the statement `name` with each parameter as PostgreSQL reads it; return its rows.

        Numerics and timestamps come as text. Raises what psycopg raises.
        """
        text, parameters = numbered(name)
        written = [None if value is None else value.encode() for value in map(values.__getitem__, parameters)]
        if any(value is not None and b"\0" in value for value in written):  # the server would see what is before it
            raise DataError("PostgreSQL text cannot contain NUL (0x00) bytes")
        if self._prepares:
            if name not in self._prepared:
                self._pgconn.send_prepare(name.encode(), text)
                await self._result()
                self._prepared.add(name)
            self._pgconn.send_query_prepared(name.encode(), written)
        else:
            self._pgconn.send_query_params(text, written)
        result = await self._result()
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    async def _result(self) -> PGresult:
        """Wait for what was sent to be answered. Raises what the server says went wrong."""
        if self._pgconn.flush():  # more than the socket takes at once
            result: PGresult = (await self.connection.wait(execute(self._pgconn)))[-1]
        else:
            result = await self._last()
        if result.status not in _GOOD:
            raise error_from_result(result, encoding=_UTF8)
        return result

    async def _last(self) -> PGresult:
        loop, descriptor = asyncio.get_running_loop(), self._pgconn.socket
        last: PGresult | None = None
        arrived: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            try:
                self._pgconn.consume_input()
                if self._pgconn.is_busy() or arrived.done():
                    return
            except psycopg.Error as error:
                if not arrived.done():
                    arrived.set_exception(error)
            else:
                arrived.set_result(None)

        loop.add_reader(descriptor, read)
        try:
            while True:
                if self._pgconn.is_busy():
                    await arrived
                    arrived = loop.create_future()
                found = self._pgconn.get_result()
                if found is None:
                    break
                last = found
        finally:
            loop.remove_reader(descriptor)
        if last is None:
            raise OperationalError("the server did not answer")
        return last
