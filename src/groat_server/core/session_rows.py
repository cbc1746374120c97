"""What the statements of the dashboard's sessions return: one frozen dataclass a result, field by column name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class SessionId:
    """A session that something was done to."""

    session_id: int


@dataclass(frozen=True, slots=True)
class SessionHolder:
    """Who is signed in, with the rights of this moment; `email` or `token_name` says who that is."""

    session_id: int
    user_id: int | None
    token_id: int | None
    email: str | None
    token_name: str | None
    is_admin: bool
    scopes: list[str]
    is_stale: bool


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session in a list."""

    id: int
    user_id: int | None
    email: str | None
    token_id: int | None
    token_name: str | None
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
