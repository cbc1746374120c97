"""Access tokens: made, presented, taken away.

A token is 256 random bits behind a fixed prefix that secret scanners can find. It is shown once; the database has its
SHA-256, which needs no salt nor slowness for a secret of that size.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from groat_server.core.rows import TokenHolder, TokenRow, UserId
from groat_server.core.scopes import Scope
from groat_server.errors import Forbidden, NotFound, Unauthorized
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from groat_server.operations.ledger import Ledger

_CREATE = Statement("tokens/create", TokenRow)
_LIST = Statement("tokens/list", TokenRow)
_REVOKE = Statement("tokens/revoke", UserId)
_FIND = Statement("tokens/find", TokenHolder)
_TOUCH = Statement("tokens/touch", UserId)

_MARK = "groat_"
_PREFIX_LENGTH = len(_MARK) + 6


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made, the only time that the token itself is known."""

    token: str
    row: TokenRow


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a user, or a service (`user_id` None) with its scopes. An administrator has every scope."""

    token_id: int
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
        return f"token:{self.token_id}"


async def create_token(
    ledger: Ledger,
    *,
    name: str,
    user_id: int | None = None,
    scopes: Iterable[Scope] = (),
    lifetime: timedelta | None = None,
) -> NewToken:
    """Make a token for a user (with the user's rights) or, with `scopes`, for a service."""
    token = _MARK + secrets.token_urlsafe(32)
    async with ledger.database.write() as connection:
        row = await _CREATE.one(
            connection,
            user_id=user_id,
            name=name,
            prefix=token[:_PREFIX_LENGTH],
            token_hash=_hashed(token),
            scopes=sorted({scope.value for scope in scopes}),
            expires_at=None if lifetime is None else datetime.now(UTC) + lifetime,
        )
    return NewToken(token, row)


async def list_tokens(ledger: Ledger, *, user_id: int | None = None, limit: int = 100) -> list[TokenRow]:
    """List tokens, newest first, of one user or of all."""
    async with ledger.database.read() as connection:
        return await _LIST.all(connection, user_id=user_id, limit=limit)


async def revoke_token(ledger: Ledger, token_id: int) -> None:
    """Take a token away, from the next request on. Raises NotFound."""
    async with ledger.database.write() as connection:
        if await _REVOKE.maybe(connection, token_id=token_id) is None:
            raise NotFound("There is no such token.", code="unknown_token")


async def authenticate(ledger: Ledger, token: str) -> Caller:
    """Find who presents this token. Raises Unauthorized where it is unknown, expired or revoked."""
    async with ledger.database.write() as connection:
        holder = await _FIND.maybe(connection, token_hash=_hashed(token))
        if holder is None:
            raise Unauthorized("The token is unknown, expired or revoked.")
        if holder.is_stale:
            await _TOUCH.maybe(connection, token_id=holder.token_id)
    return Caller(holder.token_id, holder.user_id, holder.is_admin, frozenset(map(Scope, holder.scopes)))


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
