"""Brings a database to the schema of this version, and says whether it is there.

Two kinds of files make the schema. *Revisions* (`versions/NNNN_*.sql`, run by Alembic) change tables, forward only,
each once. *Definitions* (`sql/definitions/*.sql`: functions and triggers, all `CREATE OR REPLACE`) are replaced when
their text has changed, so that a function has one source in the tree (docs/decisions/0003).

Safe beside running services: one runner at a time (an advisory lock), no statement waits longer than `LOCK_TIMEOUT` for
a table lock (a waiting lock would stop every charge behind it), and a runner that did not get its lock tries again.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege, LockNotAvailable

from groat_server.errors import CannotStart
from groat_server.migrations.rights import (
    defined_functions,
    defined_views,
    let_in,
    let_read,
    reader_roles,
    secure_functions,
    service_roles,
)
from groat_server.sql import source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

Result = TypeVar("Result")

VERSION_TABLE = "groat_schema_version"
LOCK_TIMEOUT = "2s"
_ATTEMPTS = 15
_ADVISORY_LOCK = 0x67726F6174  # "groat"
_VERSIONS = Path(__file__).parent / "versions"
# In the order in which they are installed.
_DEFINITIONS = (
    "periods",
    "audit",
    "operations",
    "lots",
    "accounts",
    "users",
    "guards",
    "action_types",
    "rollups",
    "charge_batch",
    "charge_one",
    "holds",
    "grants",
    "corrections",
    "anonymise",
    "rollups_reading",
    "views",
)
_CREATED = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What a run of `migrate` changed: the revision before (None: an empty database) and after, and the definitions."""

    before: str | None
    after: str
    definitions: tuple[str, ...]


def head() -> str:
    """Return the newest revision of this version of Groat."""
    return max(path.name.split("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))


def migrate(url: str, *, schema: str = "public", to: str = "head") -> Migrated:
    """Migrate the database at `url`; a database that is up to date is left as it is.

    Raises CannotStart where tables of somebody else are in the way, or the role may not change ours.
    """
    options = f"-c search_path={schema},pg_temp -c timezone=UTC"
    with (
        _refusals_told(),
        psycopg.connect(url, autocommit=True, options=options, application_name="groat migrate") as connection,
    ):
        connection.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        connection.execute(sql.SQL("SET lock_timeout = {}").format(LOCK_TIMEOUT))
        if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        before = _revision(connection, schema)
        if before is None:
            _refuse_foreign_tables(connection, schema)
        if before is None or before < (head() if to == "head" else to):
            _retried(lambda: _upgrade(url, options, schema, to))
        after = _revision(connection, schema) or ""
        # They speak of this version's tables, and of no earlier one's.
        changed = _retried(lambda: _install_definitions(connection)) if after == head() else ()
        return Migrated(before=before, after=after, definitions=changed)


def let_service_in(url: str, role: str, *, schema: str = "public") -> None:
    """Give a role what a service needs and no more; migrations keep that up from then on.

    Raises CannotStart where the role is not there, or the schema is not this version's.
    """
    with _granting(url, schema) as connection:
        let_in(connection, role, tables=_tables(), views=_views(), functions=_functions())


def let_reader_in(url: str, role: str, *, schema: str = "public") -> None:
    """Let a role read the views and take whatever else it had of ours; migrations keep that up from then on.

    Raises CannotStart where the role is not there, or the schema is not this version's.
    """
    with _granting(url, schema) as connection:
        let_read(connection, role, tables=_tables(), views=_views(), functions=_functions())


@contextmanager
def _granting(url: str, schema: str) -> Iterator[psycopg.Connection]:
    """Lend a transaction in which rights are given. Raises CannotStart where the schema is not this version's."""
    options = f"-c search_path={schema},pg_temp"
    with _refusals_told(), psycopg.connect(url, options=options, application_name="groat migrate") as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT))
        if _revision(connection, schema) != head():
            raise CannotStart("The database does not have the schema of this version of Groat: run `groat db migrate`.")
        yield connection


async def is_current(connection: psycopg.AsyncConnection[Any], schema: str = "public") -> bool:
    """Whether the database has exactly the schema of this version."""
    tables = await connection.execute(
        "SELECT FROM pg_tables WHERE schemaname = %s AND tablename = %s", (schema, VERSION_TABLE)
    )
    if await tables.fetchone() is None:
        return False
    revisions = await connection.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_TABLE)))
    installed = await connection.execute("SELECT name, digest FROM schema_definitions")
    expected = {name: digest for name, _, digest in _definitions()}
    return await revisions.fetchall() == [(head(),)] and dict(await installed.fetchall()) == expected


def run_sql_file(revision_file: str) -> None:
    """Run the `.sql` file that lies beside a revision, statement by statement, in the revision's transaction."""
    from alembic import op  # noqa: PLC0415 - a slow import that not every process needs

    op.get_bind().exec_driver_sql(Path(revision_file).with_suffix(".sql").read_text("utf-8").replace("%", "%%"))


@contextmanager
def _refusals_told() -> Iterator[None]:
    """Raise CannotStart where the database refuses what only the owner of the tables may do."""
    try:
        yield
    except Exception as error:
        cause = getattr(error, "orig", error)  # psycopg's error, or SQLAlchemy's around it
        if not isinstance(cause, InsufficientPrivilege):
            raise
        raise CannotStart(
            f"This takes the role that owns the tables ({cause.diag.message_primary}): connect as it, by DATABASE_URL."
        ) from error


def _upgrade(url: str, options: str, schema: str, to: str) -> None:
    from alembic import command  # noqa: PLC0415 - a slow import that not every process needs
    from alembic.config import Config  # noqa: PLC0415 - a slow import that not every process needs
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - a slow import that not every process needs
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - a slow import that not every process needs

    engine = create_engine(url, poolclass=NullPool, connect_args={"options": options})

    @event.listens_for(engine, "begin")
    def limit_waiting(connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.connect() as connection:
        config.attributes.update(connection=connection, schema=schema)
        command.upgrade(config, to)
        connection.commit()


def _install_definitions(connection: psycopg.Connection) -> tuple[str, ...]:
    installed: dict[str, str] = dict(connection.execute("SELECT name, digest FROM schema_definitions").fetchall())
    changed = [(name, text, digest) for name, text, digest in _definitions() if installed.get(name) != digest]
    with connection.transaction():  # nobody sees half of them
        for name, text, digest in changed:
            connection.execute(text)
            connection.execute(
                "INSERT INTO schema_definitions (name, digest) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = now()",
                (name, digest),
            )
        if changed:
            secure_functions(connection, _functions())
            for role in service_roles(connection):
                let_in(connection, role, tables=_tables(), views=_views(), functions=_functions())
            for role in reader_roles(connection):
                let_read(connection, role, tables=_tables(), views=_views(), functions=_functions())
    return tuple(name for name, _, _ in changed)


def _functions() -> list[str]:
    """Return the names of all functions of ours."""
    return defined_functions(text for _, text, _ in _definitions())


def _views() -> list[str]:
    """Return the names of all views of ours."""
    return defined_views(text for _, text, _ in _definitions())


def _tables() -> list[str]:
    """Return the names of all tables of ours."""
    created = {name for path in _VERSIONS.glob("*.sql") for name in _CREATED.findall(path.read_text("utf-8"))}
    return sorted(created | {VERSION_TABLE})


@cache
def _definitions() -> tuple[tuple[str, LiteralString, str], ...]:
    return tuple(_read_definitions())


def _read_definitions() -> Iterator[tuple[str, LiteralString, str]]:
    for name in _DEFINITIONS:
        text = source(f"definitions/{name}")
        yield name, text, hashlib.sha256(text.encode()).hexdigest()


def _revision(connection: psycopg.Connection, schema: str) -> str | None:
    if VERSION_TABLE not in _relations(connection, schema):
        return None
    row = connection.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_TABLE))).fetchone()
    return row[0] if row else None


def _refuse_foreign_tables(connection: psycopg.Connection, schema: str) -> None:
    foreign = sorted(_relations(connection, schema) & {*_tables(), *_views()}, key=lambda name: (name != "users", name))
    if foreign:
        raise CannotStart(
            f"The schema {schema!r} already has a table or view {foreign[0]!r} that is not Groat's. "
            "Give Groat a schema of its own: set GROAT_SCHEMA=groat, or run `groat db migrate --schema groat`."
        )


def _relations(connection: psycopg.Connection, schema: str) -> set[str]:
    rows = connection.execute(
        "SELECT relname::text FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s",
        (schema,),
    )
    return {name for (name,) in rows}


def _retried(action: Callable[[], Result]) -> Result:
    """Do `action` again while it does not get its locks. psycopg's error, or SQLAlchemy's around it."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return action()
        except Exception as error:
            cause = getattr(error, "orig", error)
            if not isinstance(cause, LockNotAvailable) or attempt == _ATTEMPTS:
                raise
            time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads retries, guards nothing
    raise AssertionError("unreachable")
