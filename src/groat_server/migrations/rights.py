"""Who may do what in the database: the owner everything, a service's own role what a service needs, a reader the views.

Every function of ours runs with its owner's rights and may be called by nobody but its owner. A service that connects
as a role of its own may read every table, write those of administration, and call what its statements call. It moves
credits through the ledger's functions alone, and calls none of those that take the instant: tests and sample data do.

A role that was let in to read, for a tool that makes charts, may read the views and nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from groat_server.errors import CannotStart
from groat_server.sql import all_statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

_DEFINED = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)", re.MULTILINE)
_DEFINED_VIEW = re.compile(r"^CREATE OR REPLACE VIEW (\w+)", re.MULTILINE)
_CALLED = re.compile(r"\b(\w+)\s*\(")
# Functions whose text writes lots, and what becomes of them, do so under a setting: guards.sql refuses all others.
_BOOKS = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM)\s+credit_lot(s|_draws|_returns)\b")

# What a service writes itself: administration, and nothing that holds credits.
WRITTEN: Mapping[str, LiteralString] = {
    "users": (
        "INSERT, UPDATE (email, full_name, external_id, demo_mode, is_admin, time_zone, period_anchor,"
        " opening_allowance)"
    ),
    "access_tokens": "INSERT, UPDATE",
    "login_links": "INSERT, UPDATE (used_at)",
    "dashboard_sessions": "INSERT, UPDATE (last_seen_at, ended_at)",
    "ledger_settings": "UPDATE",
    "price_book": "UPDATE",
    "price_versions": "INSERT",
    "import_jobs": "INSERT, UPDATE",
}


def secure_functions(connection: psycopg.Connection, names: Iterable[str]) -> None:
    """Make the functions called so run with their owner's rights, and callable by nobody else.

    A definition that is replaced is again what its text says, so this follows whenever one is.
    """
    for function, text in _functions(connection, names):
        connection.execute(sql.SQL("REVOKE EXECUTE ON {} FROM PUBLIC").format(function))
        connection.execute(sql.SQL("ALTER {} SECURITY DEFINER").format(function))
        if _BOOKS.search(text):
            connection.execute(sql.SQL("ALTER {} SET groat.booking = 'on'").format(function))


def service_roles(connection: psycopg.Connection) -> list[str]:
    """Return the roles that were let in as services: those beside the owner who may make tokens."""
    rows = connection.execute(
        "SELECT pg_get_userbyid(acl.grantee) FROM pg_class, aclexplode(relacl) AS acl"
        " WHERE relnamespace = current_schema()::regnamespace AND relname = 'access_tokens'"
        " AND acl.privilege_type = 'INSERT' AND acl.grantee NOT IN (0, relowner) ORDER BY 1"
    ).fetchall()
    return [role for (role,) in rows]


def reader_roles(connection: psycopg.Connection) -> list[str]:
    """Return the roles that were let in to read: those beside the owner who may read a view and not its table."""
    rows = connection.execute(
        "SELECT pg_get_userbyid(acl.grantee) FROM pg_class, aclexplode(relacl) AS acl"
        " WHERE relnamespace = current_schema()::regnamespace AND relname = 'v_usage_events'"
        " AND acl.privilege_type = 'SELECT' AND acl.grantee NOT IN (0, relowner)"
        " AND NOT has_table_privilege(acl.grantee, 'credit_usage_events', 'SELECT') ORDER BY 1"
    ).fetchall()
    return [role for (role,) in rows]


def let_in(
    connection: psycopg.Connection,
    role: str,
    *,
    tables: Iterable[str],
    views: Iterable[str],
    functions: Iterable[str],
) -> None:
    """Give `role` what a service needs of these, and take whatever else it had of them.

    Raises CannotStart where there is no such role, or it could do everything anyway.
    """
    who = _begun_anew(connection, role, relations=[*tables, *views], functions=functions)
    for relation in (*tables, *views):
        on = sql.SQL("ON {}").format(sql.Identifier(relation))
        connection.execute(sql.SQL("GRANT SELECT {} TO {}").format(on, who))
        if relation in WRITTEN:
            connection.execute(sql.SQL("GRANT {} {} TO {}").format(sql.SQL(WRITTEN[relation]), on, who))
    for function, _ in _functions(connection, callable_by_service(functions)):
        connection.execute(sql.SQL("GRANT EXECUTE ON {} TO {}").format(function, who))


def let_read(
    connection: psycopg.Connection,
    role: str,
    *,
    tables: Iterable[str],
    views: Iterable[str],
    functions: Iterable[str],
) -> None:
    """Let `role` read these views, and take whatever else it had of these.

    Raises CannotStart where there is no such role, or it could do everything anyway.
    """
    who = _begun_anew(connection, role, relations=[*tables, *views], functions=functions)
    for view in views:
        connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(view), who))


def _begun_anew(
    connection: psycopg.Connection, role: str, *, relations: Iterable[str], functions: Iterable[str]
) -> sql.Identifier:
    """Let `role` into the schema, with no right on anything of ours that is in it; returns its name.

    Raises CannotStart where there is no such role, or it could do everything anyway.
    """
    found = connection.execute(
        "SELECT rolsuper OR pg_has_role(oid, (SELECT relowner FROM pg_class WHERE oid = 'users'::regclass), 'MEMBER')"
        " FROM pg_roles WHERE rolname = %s",
        (role,),
    ).fetchone()
    if found is None:
        raise CannotStart(f"There is no role {role!r}. Make it first: CREATE ROLE {role} LOGIN PASSWORD '…';")
    if found[0]:
        raise CannotStart(f"The role {role!r} is a superuser or owns the tables, so it may do everything anyway.")
    who = sql.Identifier(role)
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_schema(connection), who))
    for relation in relations:
        connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(sql.Identifier(relation), who))
    for function, _ in _functions(connection, functions):
        connection.execute(sql.SQL("REVOKE EXECUTE ON {} FROM {}").format(function, who))
    return who


def callable_by_service(names: Iterable[str]) -> set[str]:
    """Return which of these functions a statement of the service calls, but for those that take the instant."""
    names = set(names)
    called = {name for text in all_statements() for name in _CALLED.findall(text)}
    return {name for name in called & names if name.removesuffix("_at") not in names - {name}}


def defined_functions(definitions: Iterable[str]) -> list[str]:
    """Return the names of the functions that these texts define."""
    return sorted({name for text in definitions for name in _DEFINED.findall(text)})


def defined_views(definitions: Iterable[str]) -> list[str]:
    """Return the names of the views that these texts define."""
    return sorted({name for text in definitions for name in _DEFINED_VIEW.findall(text)})


def _functions(connection: psycopg.Connection, names: Iterable[str]) -> list[tuple[sql.SQL, str]]:
    """Return the functions called so, each as a statement names it, with its text."""
    rows = connection.execute(
        "SELECT 'FUNCTION ' || oid::regprocedure::text, prosrc FROM pg_proc"
        " WHERE pronamespace = current_schema()::regnamespace AND proname = ANY (%s)",
        (list(names),),
    ).fetchall()
    return [(sql.SQL(signature), text) for signature, text in rows]


def _schema(connection: psycopg.Connection) -> sql.Identifier:
    row = connection.execute("SELECT current_schema()").fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM returns a row
    return sql.Identifier(row[0])
