"""Access tokens: made, presented, taken away.

A token is 256 random bits behind a fixed prefix that secret scanners can find. It is shown once; the database has its
SHA-256, which needs no salt nor slowness for a secret of that size.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from groat_server.core.rows import NamedUser, TokenHolder, TokenRow, UserId
from groat_server.core.scopes import Scope
from groat_server.errors import Forbidden, NotFound, Unauthorized
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from groat_server.operations.ledger import Ledger

_CREATE = Statement("tokens/create", TokenRow)
_ROTATE = Statement("tokens/rotate", TokenRow)
_LIST = Statement("tokens/list", TokenRow)
_REVOKE = Statement("tokens/revoke", UserId)
_FIND = Statement("tokens/find", TokenHolder)
_FIND_NAMED = Statement("tokens/find_named", NamedUser)
_TOUCH = Statement("tokens/touch", UserId)

GRACE_HOURS = 24
RECENT_SECONDS = 1.0
_MARK = "groat_"
_PREFIX_LENGTH = len(_MARK) + 6


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made, the only time that the token itself is known."""

    token: str
    row: TokenRow


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a user, or a service (`user_id` None) with its scopes. An administrator has every scope.

    `token_id` None: a user who came with a token of the host application.
    """

    token_id: int | None
    user_id: int | None
    is_admin: bool
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Tell whether the caller has this scope."""
        return self.is_admin or scope in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise Forbidden where the caller does not have this scope."""
        if not self.may(scope):
            raise Forbidden(f"This token does not have the scope {scope.value!r}.")

    @property
    def actor(self) -> str:
        """How the caller is named in the books."""
        return f"user:{self.user_id}" if self.token_id is None else f"token:{self.token_id}"


_NOBODY: tuple[None, float] = (None, float("-inf"))


async def create_token(
    ledger: Ledger,
    *,
    name: str,
    user_id: int | None = None,
    scopes: Iterable[Scope] = (),
    lifetime: timedelta | None = None,
    actor: str | None = None,
) -> NewToken:
    """Make a token for a user (with the user's rights) or, with `scopes`, for a service.

    Raises NotFound where the user was anonymised.
    """
    token = _new_token()
    async with ledger.database.act(actor) as connection:
        row = await _CREATE.maybe(
            connection,
            user_id=user_id,
            name=name,
            prefix=token[:_PREFIX_LENGTH],
            token_hash=hashed(token),
            scopes=sorted({scope.value for scope in scopes}),
            expires_at=None if lifetime is None else datetime.now(UTC) + lifetime,
        )
    if row is None:
        raise NotFound("There is no such user.", code="unknown_user")
    return NewToken(token, row)


async def rotate_token(
    ledger: Ledger,
    token_id: int,
    *,
    grace_hours: int = GRACE_HOURS,
    lifetime_days: int | None = None,
    actor: str | None = None,
) -> NewToken:
    """Make a token in place of another, with its name, scopes and holder; the old one works for some hours more.

    Without `lifetime_days` the new one lives as long as the old one was to. Raises NotFound where there is no such
    token, it works no more, or it was rotated before.
    """
    token = _new_token()
    async with ledger.database.act(actor) as connection:
        row = await _ROTATE.maybe(
            connection,
            token_id=token_id,
            prefix=token[:_PREFIX_LENGTH],
            token_hash=hashed(token),
            lifetime_days=lifetime_days,
            grace_hours=grace_hours,
        )
    if row is None:
        raise NotFound("There is no such token that works and was not rotated before.", code="unknown_token")
    return NewToken(token, row)


async def list_tokens(
    ledger: Ledger,
    *,
    user_id: int | None = None,
    token_id: int | None = None,
    only_working: bool = False,
    limit: int = 100,
) -> list[TokenRow]:
    """List tokens, newest first, of one user or of all; or the one of this id."""
    async with ledger.database.read() as connection:
        return await _LIST.all(connection, user_id=user_id, token_id=token_id, only_working=only_working, limit=limit)


async def revoke_token(ledger: Ledger, token_id: int, *, actor: str | None = None) -> None:
    """Take a token away, from the next request on. Raises NotFound."""
    async with ledger.database.act(actor) as connection:
        if await _REVOKE.maybe(connection, token_id=token_id) is None:
            raise NotFound("There is no such token.", code="unknown_token")


async def authenticate(ledger: Ledger, token: str) -> Caller:
    """Find who presents this token. Raises Unauthorized where it is unknown, expired or revoked."""
    async with ledger.database.write() as connection:
        holder = await _FIND.maybe(connection, token_hash=hashed(token))
        if holder is None:
            raise Unauthorized("The token is unknown, expired or revoked.")
        if holder.is_stale:
            await _TOUCH.maybe(connection, token_id=holder.token_id)
    return Caller(holder.token_id, holder.user_id, holder.is_admin, frozenset(map(Scope, holder.scopes)))


class RecentCallers:
    """Who has presented which token within the last second, in this process.

    What was found may have changed since: who acts on it lets the database say whether it still holds (a `Bearer` with
    each batch of charges), and forgets it where it does not.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[bytes, tuple[Caller, float]] = {}
        self._tidied = clock()
        self._looking: dict[bytes, asyncio.Task[Caller]] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._found)

    def recent(self, token: bytes) -> Caller | None:
        """Return who presented this token less than a second ago, if anybody."""
        caller, until = self._found.get(token, _NOBODY)
        return caller if self._clock() < until else None

    async def find(self, ledger: Ledger, token: bytes) -> Caller:
        """Find who presents this token, once for all who ask meanwhile. Raises Unauthorized as `authenticate` does."""
        looking = self._looking.get(token)
        if looking is None:
            looking = self._looking[token] = asyncio.create_task(self._look_up(ledger, token))
        return await asyncio.shield(looking)  # one who goes away does not end it for the others

    def forget(self, token: bytes) -> None:
        """Forget who presented this token."""
        self._found.pop(token, None)

    async def _look_up(self, ledger: Ledger, token: bytes) -> Caller:
        now = self._clock()
        try:
            caller = await authenticate(ledger, token.decode("latin-1"))
        finally:
            del self._looking[token]
        self._found[token] = caller, now + RECENT_SECONDS
        if now - self._tidied > RECENT_SECONDS:
            self._found = {each: found for each, found in self._found.items() if found[1] > now}
            self._tidied = now
        return caller


async def authenticate_named(ledger: Ledger, *, email: str | None = None, external_id: str | None = None) -> Caller:
    """Return the user whom a verified token of the host application names. Raises Unauthorized where it is nobody."""
    async with ledger.database.write() as connection:
        user = await _FIND_NAMED.maybe(connection, email=email, external_id=external_id)
    if user is None:
        raise Unauthorized("Nobody is known whom this token names.")
    return Caller(None, user.user_id, user.is_admin, frozenset())


def _new_token() -> str:
    return _MARK + secrets.token_urlsafe(32)


def hashed(token: str) -> bytes:
    """Return what the database has of a secret: its SHA-256."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
