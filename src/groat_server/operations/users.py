"""Users: who is meant, who is made, and what of them may change."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg.errors import UniqueViolation

from groat_server.core.rows import AnonymiseOutcome, Count, EventRow, LastAdmin, TermsOutcome, UserId, UserRow
from groat_server.database import RETRY_AFTER
from groat_server.errors import Busy, Conflict, NotFound
from groat_server.operations.shared_settings import show_settings
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from groat_server.database import Connection
    from groat_server.operations.ledger import Ledger

_RESOLVE = Statement("users/resolve", UserId)
_CREATE = Statement("users/create", UserId)
_ENSURE = Statement("users/ensure", UserId)
_UPDATE = Statement("users/update", UserId)
_SETTLE = Statement("users/settle", Count)
_SET_TERMS = Statement("users/set_terms", TermsOutcome)
_ANONYMISE = Statement("users/anonymise", AnonymiseOutcome)
_IS_LAST_ADMIN = Statement("users/is_last_admin", LastAdmin)
_SHOW = Statement("users/show", UserRow)
_LIST = Statement("users/list", UserRow)
_EVENTS = Statement("users/events", EventRow)

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ExternalId:
    """The host application's own id of a user."""

    external_id: str


UserName = int | str | ExternalId
"""What a request may call a user: the id, the e-mail address, or the application's own id."""


async def find_users(ledger: Ledger, names: Sequence[UserName]) -> list[int | None]:
    """Find the ids of the users called so, in order; None where nobody is."""
    async with ledger.database.write() as connection:
        return await _resolve(connection, names)


async def find_users_to_charge(ledger: Ledger, names: Sequence[UserName]) -> list[int | None]:
    """Find users as `find_users` does; with the setting `create_users`, unknown e-mail addresses become users."""
    async with ledger.database.write() as connection:
        return await resolve_to_charge(connection, names)


async def resolve_to_charge(connection: Connection, names: Sequence[UserName]) -> list[int | None]:
    """Do what `find_users_to_charge` does, on this connection."""
    found = await _resolve(connection, names)
    unknown = sorted({name for name, id_ in zip(names, found, strict=True) if id_ is None and isinstance(name, str)})
    if unknown and (await show_settings(connection)).create_users:
        await ensure_users(connection, unknown)
        found = await _resolve(connection, names)
    return found


async def find_user(ledger: Ledger, name: UserName) -> int:
    """Find the id of the user called so. Raises NotFound (unknown_user)."""
    (user_id,) = await find_users(ledger, [name])
    if user_id is None:
        raise NotFound("Nobody is known by this user id, e-mail address or external id.", code="unknown_user")
    return user_id


async def ensure_users(connection: Connection, emails: Sequence[str]) -> int:
    """Create the users of these addresses who do not exist; returns how many there were."""
    for _ in range(_ATTEMPTS - 1):
        # Somebody else may create one of them since the statement looked: then it looks again.
        with suppress(UniqueViolation):
            return len(await _ENSURE.all(connection, emails=list(emails)))
    return len(await _ENSURE.all(connection, emails=list(emails)))


async def create_user(
    ledger: Ledger,
    email: str,
    *,
    full_name: str | None = None,
    external_id: str | None = None,
    demo_mode: bool = False,
    is_admin: bool = False,
    monthly_allowance: Decimal | None = None,
    time_zone: str = "UTC",
    created_at: datetime | None = None,
    actor: str | None = None,
) -> UserRow:
    """Create a user, with a balance that opens with the allowance (absent: the default).

    `created_at` anchors the periods; absent, it is now. Raises Conflict (email_taken, external_id_taken).
    """
    async with ledger.database.act(actor) as connection:
        created = await _CREATE.one(
            connection,
            email=email,
            full_name=full_name,
            external_id=external_id,
            demo_mode=demo_mode,
            is_admin=is_admin,
            monthly_allowance=monthly_allowance,
            time_zone=time_zone,
            created_at=created_at,
        )
        return await _SHOW.one(connection, user_id=created.user_id)


async def show_user(ledger: Ledger, user_id: int) -> UserRow:
    """Show a user as of now: what is due has happened. Raises NotFound (unknown_user)."""
    async with ledger.database.write() as connection:
        await _SETTLE.one(connection, user_id=user_id)
        user = await _SHOW.maybe(connection, user_id=user_id)
    if user is None:
        raise NotFound("There is no such user.", code="unknown_user")
    return user


async def list_users(ledger: Ledger, *, after: int = 0, limit: int = 50, search: str | None = None) -> list[UserRow]:
    """List users in order of their ids, from the one after `after`."""
    async with ledger.database.read() as connection:
        return await _LIST.all(connection, after=after, limit=limit, search=search)


async def list_events(
    ledger: Ledger, user_id: int, *, before: datetime | None = None, before_id: int | None = None, limit: int = 50
) -> list[EventRow]:
    """List a user's events, newest first, from the one before (`before`, `before_id`)."""
    async with ledger.database.read() as connection:
        return await _EVENTS.all(connection, user_id=user_id, before=before, before_id=before_id, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What of a user's terms is to change, in credits; None leaves it as it is.

    The allowance counts from the next period on. With `grant_now`, what it exceeds this period's granted allowance by
    is granted at once, once under `key`; nothing is clawed back.
    """

    allowance: Decimal | None = None
    overdraft_limit: Decimal | None = None
    rollover_cap: Decimal | None = None
    grant_now: bool = False
    key: str | None = None


async def update_user(
    ledger: Ledger,
    user_id: int,
    *,
    email: str | None = None,
    full_name: str | None = None,
    demo_mode: bool | None = None,
    is_admin: bool | None = None,
    time_zone: str | None = None,
    period_anchor: datetime | None = None,
    terms: Terms | None = None,
    actor: str | None = None,
) -> bool:
    """Change what is given of a user, all of it or nothing; None leaves it as it is.

    A new time zone or anchor counts from the next period on. Returns whether the terms' key had been used for the same
    before. Raises NotFound, and Conflict: email_taken; last_admin; demo_mode_refused where a user with a history is to
    enter demo mode; demo_mode where one without a balance is to have terms; idempotency_conflict.
    """
    async with ledger.database.act(actor) as connection:
        if is_admin is False:
            await _keep_an_admin(connection, user_id)
        changed = await _UPDATE.maybe(
            connection,
            user_id=user_id,
            email=email,
            full_name=full_name,
            demo_mode=demo_mode,
            is_admin=is_admin,
            time_zone=time_zone,
            period_anchor=period_anchor,
        )
        if changed is None:
            raise NotFound("There is no such user.", code="unknown_user")
        return terms is not None and await _set_terms(connection, user_id, terms, actor)


async def anonymise_user(ledger: Ledger, user_id: int, *, actor: str) -> None:
    """Take out of the ledger who a user was, for ever; amounts stay, and no total moves.

    A repeat does nothing. Raises NotFound, Busy, and Conflict (last_admin).
    """
    async with ledger.database.act(actor) as connection:
        await _keep_an_admin(connection, user_id)
        done = await _ANONYMISE.one(connection, user_id=user_id, actor=actor)
    if done.outcome == "unknown_user":
        raise NotFound("There is no such user.", code="unknown_user")
    if done.outcome == "busy":
        raise Busy("This user has bookings in the future; send the same request again.", headers=RETRY_AFTER)


async def _keep_an_admin(connection: Connection, user_id: int) -> None:
    if (await _IS_LAST_ADMIN.one(connection, user_id=user_id)).is_last_admin:
        raise Conflict("This user is the only administrator; make somebody else one first.", code="last_admin")


async def _set_terms(connection: Connection, user_id: int, terms: Terms, actor: str | None) -> bool:
    done = await _SET_TERMS.one(
        connection,
        user_id=user_id,
        key=terms.key if terms.grant_now else None,
        allowance=terms.allowance,
        grant_now=terms.grant_now,
        overdraft=terms.overdraft_limit,
        rollover=terms.rollover_cap,
        actor=actor,
    )
    match done.outcome:
        case "changed":
            return bool(done.replayed)
        case "demo_mode":
            raise Conflict("A user in demo mode has no balance, so no terms either.", code="demo_mode")
        case "idempotency_conflict":
            raise Conflict("This key was used before for something else.", code="idempotency_conflict")
        case "busy":
            raise Busy("This user has bookings in the future; send the same request again.", headers=RETRY_AFTER)
    raise NotFound("There is no such user.", code="unknown_user")


async def _resolve(connection: Connection, names: Sequence[UserName]) -> list[int | None]:
    found = await _RESOLVE.all(
        connection,
        ids=[name if isinstance(name, int) else None for name in names],
        emails=[name if isinstance(name, str) else None for name in names],
        external_ids=[name.external_id if isinstance(name, ExternalId) else None for name in names],
    )
    return [row.user_id for row in found]
