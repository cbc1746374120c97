"""Sessions of the dashboard: begun by a one-time link or a token, ended by the person, by time, or by an administrator.

A session's id is 256 random bits that only the browser has; the database has its SHA-256. What the session may is read
anew at each request, so that who is no administrator any more has no page any more.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.core.rows import UserId
from groat_server.core.scopes import Scope
from groat_server.core.session_rows import SessionHolder, SessionId, SessionRow
from groat_server.errors import Forbidden, NotFound, Unauthorized
from groat_server.operations.tokens import Caller, authenticate, hashed
from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

_FIRST_ADMIN = Statement("sessions/first_admin", UserId)
_MAKE_LINK = Statement("sessions/make_link", UserId)
_USE_LINK = Statement("sessions/use_link", UserId)
_BEGIN = Statement("sessions/begin", SessionId)
_FIND = Statement("sessions/find", SessionHolder)
_TOUCH = Statement("sessions/touch", SessionId)
_END = Statement("sessions/end", SessionId)
_LIST = Statement("sessions/list", SessionRow)

LINK_MINUTES = 15
IDLE_MINUTES = 30
HOURS_MAX = 12
_USER_AGENT_LENGTH_MAX = 200


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in: who it is, in words, what they may, and the token that it ends with, if any."""

    id: int
    name: str
    caller: Caller
    token_id: int | None


async def first_admin(ledger: Ledger) -> int | None:
    """Return the administrator who was there first, if there is one."""
    async with ledger.database.read() as connection:
        found = await _FIRST_ADMIN.maybe(connection)
    return None if found is None else found.user_id


async def make_login_link(ledger: Ledger, user_id: int, *, actor: str | None = None) -> str:
    """Return the secret of a link that signs this user in, once, within LINK_MINUTES.

    Raises Forbidden where the user is no administrator.
    """
    secret = _new_secret()
    async with ledger.database.act(actor) as connection:
        made = await _MAKE_LINK.maybe(connection, link_hash=hashed(secret), user_id=user_id, minutes=LINK_MINUTES)
    if made is None:
        raise Forbidden("Only an administrator can be signed in by a link.")
    return secret


async def sign_in_by_link(ledger: Ledger, secret: str, *, user_agent: str) -> str:
    """Begin the session that a link stands for, and return its id. Raises Unauthorized where the link does not work."""
    async with ledger.database.write() as connection, connection.transaction():
        used = await _USE_LINK.maybe(connection, link_hash=hashed(secret))
    if used is None:
        raise Unauthorized("This link was used before, or has expired. `groat login` makes another.")
    return await _begin(ledger, Caller(None, used.user_id, is_admin=False, scopes=frozenset()), user_agent)


async def sign_in_by_token(ledger: Ledger, token: str, *, user_agent: str) -> str:
    """Begin a session with a token's rights, and return its id.

    Raises Unauthorized where the token does not work, and Forbidden where it may not read reports.
    """
    caller = await authenticate(ledger, token)
    if not caller.may(Scope.REPORTS_READ):
        raise Forbidden("This token may not see the dashboard: it takes an administrator's, or the scope reports:read.")
    return await _begin(ledger, caller, user_agent)


async def find_session(ledger: Ledger, session: str, *, is_in_use: bool = True) -> Session:
    """Return who is signed in by this id, who is not idle if it is in use. Raises Unauthorized where nobody is."""
    async with ledger.database.write() as connection:
        holder = await _FIND.maybe(connection, session_hash=hashed(session), idle_minutes=IDLE_MINUTES)
        if holder is None:
            raise Unauthorized("You are not signed in, or have not been here for a while.")
        if holder.is_stale and is_in_use:
            await _TOUCH.maybe(connection, session_id=holder.session_id)
    # A person acts in the person's own name, whatever was given to sign in.
    token_id = None if holder.user_id is not None else holder.token_id
    caller = Caller(token_id, holder.user_id, holder.is_admin, frozenset(map(Scope, holder.scopes)))
    return Session(holder.session_id, holder.email or holder.token_name or "", caller, holder.token_id)


async def end_session(ledger: Ledger, session_id: int, *, user_id: int | None = None, actor: str | None = None) -> None:
    """End a session, from the next request on; with `user_id`, only one of that user. Raises NotFound."""
    async with ledger.database.act(actor) as connection:
        if await _END.maybe(connection, session_id=session_id, user_id=user_id) is None:
            raise NotFound("There is no such session.", code="unknown_session")


async def list_sessions(ledger: Ledger, *, limit: int = 100) -> list[SessionRow]:
    """List the sessions that have not ended, newest first."""
    async with ledger.database.read() as connection:
        return await _LIST.all(connection, idle_minutes=IDLE_MINUTES, limit=limit)


async def _begin(ledger: Ledger, caller: Caller, user_agent: str) -> str:
    session = _new_secret()
    async with ledger.database.act(caller.actor) as connection:
        await _BEGIN.one(
            connection,
            session_hash=hashed(session),
            user_id=caller.user_id,
            token_id=caller.token_id,
            user_agent=user_agent[:_USER_AGENT_LENGTH_MAX],
            hours=HOURS_MAX,
        )
    return session


def _new_secret() -> str:
    return secrets.token_urlsafe(32)
