"""`groat user …`, `groat token …` and `groat audit`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_row, print_rows, say
from groat_server.cli.session import ACTOR, called, checked, on_ledger
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from groat_server.core.rows import AuditRow, TokenRow, UserRow
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.tokens import NewToken as MadeToken
    from groat_server.operations.users import Terms

user = App(name="user", help="Add, list, show, change and anonymise users.")
token = App(name="token", help="Create, list, rotate and revoke access tokens.")

User = Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")]
Now = Annotated[bool, Parameter(negative="", help="Grant at once what the allowance exceeds this period's by.")]
Key = Annotated[str | None, Parameter(help="With --now, the key under which this is done once.")]
Off = Annotated[bool, Parameter(name="--off", negative="", help="Take it away instead.")]

_COLUMNS = (
    "id",
    "email",
    "full_name",
    "demo_mode",
    "is_admin",
    "current_balance",
    "monthly_allowance",
    "next_reset_at",
)
_TOKEN_COLUMNS = (
    "id",
    "email",
    "name",
    "prefix",
    "scopes",
    "created_at",
    "expires_at",
    "expires_in_days",
    "last_used_at",
    "revoked_at",
    "replaced_by",
)
_AUDIT_COLUMNS = ("id", "recorded_at", "actor", "act", "user_id", "email", "details")


@user.command
def add(
    email: str,
    /,
    *,
    name: str | None = None,
    external_id: str | None = None,
    demo: Annotated[bool, Parameter(negative="")] = False,
    admin: Annotated[bool, Parameter(negative="")] = False,
    allowance: str | None = None,
    time_zone: str | None = None,
    output: Output = TABLE,
) -> None:
    """Add a user, whose balance opens with the period's allowance.

    Parameters
    ----------
    email: The address, by which the user is known.
    name: The full name.
    external_id: The application's own id of the user.
    demo: The user is in demo mode and is never tracked.
    admin: The user is an administrator.
    allowance: Credits each month; absent, the ledger's default.
    time_zone: Where periods begin at the user's own time; absent, UTC.

    """
    from groat_server.http.admin_users import NewUser
    from groat_server.operations.users import create_user

    given = {
        "email": email,
        "full_name": name,
        "external_id": external_id,
        "demo_mode": demo,
        "is_admin": admin,
        "monthly_allowance": allowance,
        "time_zone": time_zone,
    }
    body = checked(NewUser, given)
    made = on_ledger(lambda ledger: create_user(ledger, **body.model_dump(), actor=ACTOR))
    print_row(made, output, columns=_COLUMNS)


@user.command(name="list")
def list_(
    *,
    search: Annotated[str | None, Parameter(help="Only those whose e-mail or name contains this.")] = None,
    after: Annotated[int, Parameter(help="Begin after this id.")] = 0,
    limit: int = 50,
    output: Output = TABLE,
) -> None:
    """List users in order of their ids."""
    from groat_server.operations.users import list_users

    rows = on_ledger(lambda ledger: list_users(ledger, after=after, limit=limit, search=search))
    print_rows(rows, output, columns=_COLUMNS)


@user.command
def show(who: User, /, *, output: Output = TABLE) -> None:
    """Show a user with the balance as of now."""
    from groat_server.operations.users import find_user, show_user

    name = called(who)

    async def run(ledger: Ledger) -> UserRow:
        return await show_user(ledger, await find_user(ledger, name))

    print_row(on_ledger(run), output, columns=_COLUMNS)


@user.command
def admin(who: User, /, *, off: Off = False, output: Output = TABLE) -> None:
    """Make a user an administrator, from the next request on."""
    _change(who, output, is_admin=not off)


@user.command
def demo(who: User, /, *, off: Off = False, output: Output = TABLE) -> None:
    """Put a user into demo mode; refused where there is a history."""
    _change(who, output, demo_mode=not off)


@user.command
def allowance(
    who: User,
    credits: Annotated[str, Parameter(help="Credits each month.")],  # noqa: A002 - what it is called everywhere
    /,
    *,
    now: Now = False,
    key: Key = None,
    output: Output = TABLE,
) -> None:
    """Change a user's monthly allowance, from the next period on."""
    _change(who, output, terms=_terms(monthly_allowance=credits, now=now, key=key))


@user.command(name="set")
def set_(
    who: User,
    /,
    *,
    email: str | None = None,
    name: str | None = None,
    time_zone: str | None = None,
    period_anchor: str | None = None,
    allowance: str | None = None,
    now: Now = False,
    key: Key = None,
    overdraft: str | None = None,
    rollover: str | None = None,
    output: Output = TABLE,
) -> None:
    """Change who a user is, or the terms; what is not named stays as it is.

    Parameters
    ----------
    email: The new address; the old one is free again.
    name: The full name.
    time_zone: Where periods begin, from the next period on.
    period_anchor: On whose monthly anniversaries periods begin, from the next period on.
    allowance: Credits each month, from the next period on.
    overdraft: How many credits below zero the user may go, from now on.
    rollover: How much of an unused allowance is kept for one more period.

    """
    from groat_server.http.admin_users import UserChange

    given = {"email": email, "full_name": name, "time_zone": time_zone, "period_anchor": period_anchor}
    terms = _terms(monthly_allowance=allowance, overdraft_limit=overdraft, rollover_cap=rollover, now=now, key=key)
    if all(value is None for value in given.values()):
        if terms is None:
            raise Unprocessable("Name something to change.")
        _change(who, output, terms=terms)
        return
    changes = checked(UserChange, given).model_dump(include=set(given), exclude_none=True)
    _change(who, output, **changes, terms=terms)


@user.command
def anonymise(
    who: User,
    /,
    *,
    yes: Annotated[bool, Parameter(negative="", help="It cannot be undone, and is to be done.")] = False,
    output: Output = TABLE,
) -> None:
    """Take out who a user was, for ever: address, name, descriptions, metadata, tokens. Amounts and totals stay."""
    from groat_server.operations.users import anonymise_user, find_user, show_user

    name = called(who)

    async def run(ledger: Ledger) -> UserRow:
        user_id = await find_user(ledger, name)
        if not yes:
            raise Unprocessable(f"This cannot be undone; with --yes, user {user_id} is anonymised.")
        await anonymise_user(ledger, user_id, actor=ACTOR)
        return await show_user(ledger, user_id)

    print_row(on_ledger(run), output, columns=_COLUMNS)


@token.command
def create(
    who: Annotated[str | None, Parameter(help="Whose token: an id, an e-mail address, or external:ID.")] = None,
    /,
    *,
    service: Annotated[str | None, Parameter(help="Instead of a user: the name of a service.")] = None,
    scope: Annotated[list[str] | None, Parameter(negative="", help="What the service may do.")] = None,
    name: Annotated[str, Parameter(help="What the token is for.")] = "cli",
    days: Annotated[int | None, Parameter(help="How long it lives; absent: until it is revoked.")] = None,
    output: Output = TABLE,
) -> None:
    """Create a token for a user or a service. It is shown once.

    Scopes: usage:write, usage:price, balance:read, grants:write, reports:read, admin.
    """
    from groat_server.http.admin_tokens import NewServiceToken, NewToken
    from groat_server.operations.tokens import create_token
    from groat_server.operations.users import find_user

    if (who is None) == (service is None):
        raise Unprocessable("Name a user, or a service with --service NAME --scope SCOPE.")
    if service is not None:
        body: Any = checked(NewServiceToken, {"name": service, "scopes": scope or [], "lifetime_days": days})
    else:
        body = checked(NewToken, {"name": name, "lifetime_days": days})
    user_name = None if who is None else called(who)
    lifetime = None if days is None else timedelta(days=days)

    async def run(ledger: Ledger) -> MadeToken:
        user_id = None if user_name is None else await find_user(ledger, user_name)
        scopes = body.scopes if service is not None else ()
        return await create_token(
            ledger, name=body.name, user_id=user_id, scopes=scopes, lifetime=lifetime, actor=ACTOR
        )

    _show_token(on_ledger(run), output)


@token.command(name="list")
def list_tokens_(who: User | None = None, /, *, output: Output = TABLE) -> None:
    """List the newest tokens, of one user or of all."""
    from groat_server.operations.tokens import list_tokens
    from groat_server.operations.users import find_user

    name = None if who is None else called(who)

    async def run(ledger: Ledger) -> list[TokenRow]:
        return await list_tokens(ledger, user_id=None if name is None else await find_user(ledger, name))

    print_rows(on_ledger(run), output, columns=_TOKEN_COLUMNS)


@token.command
def rotate(
    token_id: int,
    /,
    *,
    grace_hours: Annotated[int | None, Parameter(help="How long the old one works beside it; absent: 24.")] = None,
    days: Annotated[int | None, Parameter(help="How long it lives; absent: as long as the old one was to.")] = None,
    output: Output = TABLE,
) -> None:
    """Make a token in place of another, with its name, scopes and holder. It is shown once."""
    from groat_server.http.admin_tokens import Rotation
    from groat_server.operations.tokens import rotate_token

    asked = checked(Rotation, {"grace_hours": grace_hours, "lifetime_days": days}).model_dump()
    _show_token(on_ledger(lambda ledger: rotate_token(ledger, token_id, **asked, actor=ACTOR)), output)


@token.command
def revoke(token_id: int, /) -> None:
    """Take a token away, from the next request on."""
    from groat_server.operations.tokens import revoke_token

    on_ledger(lambda ledger: revoke_token(ledger, token_id, actor=ACTOR))
    say(f"[green]✓[/] token {token_id} is revoked")


def audit(
    who: User | None = None,
    /,
    *,
    act: Annotated[str | None, Parameter(help="Only acts of this kind, such as user_changed.")] = None,
    actor: Annotated[str | None, Parameter(help="Only acts of token:ID, cli:NAME, or role:NAME (SQL by hand).")] = None,
    before: Annotated[int | None, Parameter(help="Begin before this id.")] = None,
    limit: int = 50,
    output: Output = TABLE,
) -> None:
    """Show who did what by way of administration, newest first: all of it, or what was done to one user."""
    from groat_server.operations.audit import list_acts
    from groat_server.operations.users import find_user

    name = None if who is None else called(who)

    async def run(ledger: Ledger) -> list[AuditRow]:
        user_id = None if name is None else await find_user(ledger, name)
        return await list_acts(ledger, user_id=user_id, act=act, actor=actor, before=before, limit=limit)

    print_rows(on_ledger(run), output, columns=_AUDIT_COLUMNS)


def _terms(*, now: bool, key: str | None, **amounts: str | None) -> Terms | None:
    """Return the terms of the command line, under the rules of the HTTP interface; None where none is named."""
    from uuid import uuid4

    from groat_server.http.admin_users import UserChange

    if all(amount is None for amount in amounts.values()):
        return None
    effective = {"effective": "now", "idempotency_key": key or f"cli-{uuid4()}"} if now else {}
    return checked(UserChange, {**amounts, **effective}).terms(None)


def _change(who: str, output: Output, **changes: Any) -> None:
    from groat_server.operations.users import find_user, show_user, update_user

    name = called(who)

    async def run(ledger: Ledger) -> UserRow:
        user_id = await find_user(ledger, name)
        await update_user(ledger, user_id, **changes, actor=ACTOR)
        return await show_user(ledger, user_id)

    print_row(on_ledger(run), output, columns=_COLUMNS)


def _show_token(made: MadeToken, output: Output) -> None:
    if output.json:
        print_json({"token": made.token, "id": made.row.id})
    else:
        say(made.token)
