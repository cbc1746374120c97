"""Connections to the ledger's PostgreSQL: pools for the service, a session for scripts, and what its errors mean.

Two pools, so that admin reads never starve charges: `write()` for whatever moves credits, `read()` for reports,
read-only and with a statement timeout. Connections are in autocommit: a statement is a transaction.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import msgspec
import psycopg
from psycopg import errors as pg
from psycopg.adapt import Buffer, Loader
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg.types.numeric import DecimalDumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from groat_server.core.credits import Amount
from groat_server.errors import Busy, CannotStart, Conflict, GroatError, Unprocessable
from groat_server.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncSession

WRITE_CONNECTIONS_MAX = 8
READ_CONNECTIONS_MAX = 4
LOCK_TIMEOUT = "2s"
READ_TIMEOUT = "30s"
POOL_WAIT_SECONDS = 5.0
_OLDEST_SERVER, _NEWEST_SERVER = 15, 18

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the ledger is: a `postgresql://` URL and the schema of its tables."""

    url: str
    schema: str = "public"

    def options(self, *extra: str) -> str:
        """Server settings for a connection: its schema first, and UTC."""
        settings = (f"search_path={self.schema},pg_temp", "timezone=UTC", *extra)
        return " ".join(f"-c {setting}" for setting in settings)


class Database:
    """The pools of one process. An async context manager: open inside, closed after."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._writes = self._pool(WRITE_CONNECTIONS_MAX, "groat", address.options(f"lock_timeout={LOCK_TIMEOUT}"))
        self._reads = self._pool(
            READ_CONNECTIONS_MAX,
            "groat reports",
            address.options(f"statement_timeout={READ_TIMEOUT}", "default_transaction_read_only=on"),
        )

    def _pool(self, size: int, name: str, options: str) -> AsyncConnectionPool[Connection]:
        return AsyncConnectionPool(
            self.address.url,
            kwargs={"autocommit": True, "application_name": name, "options": options},
            configure=_configure,
            min_size=0,
            max_size=size,
            timeout=POOL_WAIT_SECONDS,
            open=False,
        )

    async def __aenter__(self) -> Self:
        await self._writes.open()
        await self._reads.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reads.close()
        await self._writes.close()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """Lend a connection for what changes the ledger; it waits for a lock no longer than LOCK_TIMEOUT."""
        with translated_errors():
            async with self._writes.connection() as connection:
                yield connection

    @asynccontextmanager
    async def act(self, actor: str | None) -> AsyncIterator[Connection]:
        """Lend a connection for one transaction, whose acts the audit log has as those of `actor`.

        None: as those of the database role, as if SQL were run by hand.
        """
        async with self.write() as connection, connection.transaction():
            if actor is not None:
                await connection.execute("SELECT set_config('groat.actor', %s, true)", (actor,))
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Lend a read-only connection whose statements end after READ_TIMEOUT."""
        with translated_errors():
            async with self._reads.connection() as connection:
                yield connection

    @asynccontextmanager
    async def snapshot(self, *, statement_timeout: str | None = None) -> AsyncIterator[Connection]:
        """Lend a read-only connection all of whose statements see one instant; they may take `statement_timeout`.

        Absent, READ_TIMEOUT.
        """
        async with self.read() as connection:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                if statement_timeout is not None:
                    await connection.execute("SELECT set_config('statement_timeout', %s, true)", (statement_timeout,))
                yield connection
            finally:
                await connection.rollback()


write_json = msgspec.json.Encoder(decimal_format="number").encode


async def connect(address: Address, *settings: str) -> Connection:
    """Open a connection outside the pools, in autocommit, with these server settings. Raises OperationalError."""
    connection = await psycopg.AsyncConnection.connect(
        address.url,
        autocommit=True,
        application_name="groat",
        options=address.options(*settings),
        connect_timeout=int(POOL_WAIT_SECONDS),
    )
    await _configure(connection)
    return connection


async def _configure(connection: Connection) -> None:
    set_json_loads(partial(json.loads, parse_float=Decimal), connection)
    set_json_dumps(write_json, connection)
    connection.adapters.register_loader("numeric", _AmountLoader)
    connection.adapters.register_dumper(Amount, DecimalDumper)


class _AmountLoader(Loader):
    """Makes numerics amounts, which print in plain notation."""

    def load(self, data: Buffer) -> Amount:
        return Amount(str(data, "ascii"))


class translated_errors:  # noqa: N801 - reads as what it does, like contextlib's own
    """A context in which errors of the database that mean something to the caller become GroatErrors."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Raise the error's meaning in its place, where it has one."""
        meaning = _meaning(error)
        if meaning is not None:
            raise meaning from error


RETRY_AFTER = {"Retry-After": "1"}
DETAIL_UNKNOWN = (
    "The connection to the database was lost, so what became of the request is unknown: "
    "send it again with the same key."
)

# Constraints that a request can break, by name, and what that means.
_BROKEN: dict[str | None, tuple[type[GroatError], str, str]] = {
    "user_emails_pkey": (Conflict, "Another user has this e-mail address.", "email_taken"),
    "user_external_ids_pkey": (Conflict, "Another user has this external id.", "external_id_taken"),
    "user_credit_balances_current_balance": (
        Unprocessable,
        "A balance holds at most 10^15 credits.",
        "balance_out_of_bounds",
    ),
}


def _meaning(error: BaseException | None) -> GroatError | None:
    match error:
        case pg.UniqueViolation(diag=diag) | pg.CheckViolation(diag=diag) if diag.constraint_name in _BROKEN:
            kind, detail, code = _BROKEN[diag.constraint_name]
            return kind(detail, code=code)
        case psycopg.Error(sqlstate="GR001"):
            return Conflict(str(error.diag.message_primary), code="demo_mode_refused")
        case pg.InvalidParameterValue():
            return Unprocessable("The database does not know this time zone.", code="unknown_time_zone")
        case pg.LockNotAvailable() | pg.DeadlockDetected() | pg.QueryCanceled() | PoolTimeout():
            return Busy("The ledger is busy; send the same request again.", headers=RETRY_AFTER)
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return Busy(DETAIL_UNKNOWN, code="outcome_unknown", headers=RETRY_AFTER)
    return None


async def check_server(connection: Connection, *, provider_durability: bool = False) -> str:
    """Return the server's version.

    Raises CannotStart where it is too old or too new, or could lose what it has acknowledged.
    """
    found = await connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name IN"
        " ('server_version', 'server_version_num', 'fsync', 'full_page_writes')"
    )
    settings = dict(await found.fetchall())
    major = int(settings["server_version_num"]) // 10_000
    if not _OLDEST_SERVER <= major <= _NEWEST_SERVER:
        raise CannotStart(
            f"The server is PostgreSQL {settings['server_version']}; "
            f"Groat runs on {_OLDEST_SERVER} to {_NEWEST_SERVER}."
        )
    weak = [name for name in ("fsync", "full_page_writes") if settings[name] != "on"]
    if weak and not provider_durability:
        raise CannotStart(
            f"The server has {' and '.join(weak)} off, so a power cut could lose acknowledged charges. Turn it on, or "
            "set GROAT_DURABILITY=provider if your provider guarantees durability in another way."
        )
    return str(settings["server_version"])


@asynccontextmanager
async def get_async_session() -> AsyncIterator[AsyncSession]:
    """Open a SQLAlchemy session for a script, on DATABASE_URL or else the embedded server, which it starts if need be.

    It has an engine of its own, so that a script may call `asyncio.run` more than once.
    """
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine  # noqa: PLC0415 - a slow import that not every process needs
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - a slow import that not every process needs

    with ledger_address(read_settings()) as address:
        engine = create_async_engine(address.url, poolclass=NullPool, connect_args={"options": address.options()})
        try:
            async with AsyncSession(engine, expire_on_commit=False) as session:
                yield session
        finally:
            await engine.dispose()


@contextmanager
def ledger_address(settings: Settings) -> Iterator[Address]:
    """Say where the ledger is; the embedded server runs for as long as the context lasts."""
    if settings.database_url is not None:
        yield Address(settings.database_url, settings.schema)
        return
    from groat_server import embedded  # noqa: PLC0415 - a slow import that not every process needs

    with embedded.hold(settings.data_dir) as server:
        yield Address(server.socket_url, settings.schema)
