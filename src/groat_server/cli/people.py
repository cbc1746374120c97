"""`groat user …` and `groat token …`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from groat_server.cli.output import TABLE, Output, print_json, print_row, print_rows, say
from groat_server.cli.session import called, checked, on_ledger

if TYPE_CHECKING:
    from groat_server.core.rows import TokenRow, UserRow
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.tokens import NewToken as MadeToken

user = App(name="user", help="Add, list, show and change users.")
token = App(name="token", help="Create, list and revoke access tokens.")

User = Annotated[str, Parameter(help="An id, an e-mail address, or external:ID.")]
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
_TOKEN_COLUMNS = ("id", "email", "name", "prefix", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")


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
    print_row(on_ledger(lambda ledger: create_user(ledger, **body.model_dump())), output, columns=_COLUMNS)


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
    now: Annotated[bool, Parameter(negative="", help="Grant at once what it exceeds this period's by.")] = False,
    output: Output = TABLE,
) -> None:
    """Change a user's monthly allowance, from the next period on."""
    from groat_server.http.admin_users import UserChange
    from groat_server.operations.users import AllowanceChange

    amount = checked(UserChange, {"monthly_allowance": credits}).monthly_allowance
    assert amount is not None  # noqa: S101 - it was given
    _change(who, output, allowance=AllowanceChange(allowance=amount, grant_now=now, actor="cli"))


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
    from groat_server.errors import Unprocessable
    from groat_server.http.admin_users import NewServiceToken, NewToken
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
        return await create_token(ledger, name=body.name, user_id=user_id, scopes=scopes, lifetime=lifetime)

    made = on_ledger(run)
    if output.json:
        print_json({"token": made.token, "id": made.row.id})
    else:
        say(made.token)


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
def revoke(token_id: int, /) -> None:
    """Take a token away, from the next request on."""
    from groat_server.operations.tokens import revoke_token

    on_ledger(lambda ledger: revoke_token(ledger, token_id))
    say(f"[green]✓[/] token {token_id} is revoked")


def _change(who: str, output: Output, **changes: Any) -> None:
    from groat_server.operations.users import find_user, show_user, update_user

    name = called(who)

    async def run(ledger: Ledger) -> UserRow:
        user_id = await find_user(ledger, name)
        await update_user(ledger, user_id, **changes)
        return await show_user(ledger, user_id)

    print_row(on_ledger(run), output, columns=_COLUMNS)
