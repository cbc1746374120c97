"""`groat login`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from groat_server.cli.session import ACTOR, called, on_ledger
from groat_server.errors import NotFound

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger
    from groat_server.settings import Settings


def login(
    user: Annotated[str | None, Parameter(help="An administrator; absent: the first.")] = None,
    *,
    url: Annotated[str | None, Parameter(help="Where the dashboard is reached; absent: this machine.")] = None,
) -> None:
    """Print a link that signs an administrator in to the dashboard, once, within 15 minutes."""
    from groat_server.settings import read_settings

    base = (url or service_url(read_settings())).rstrip("/")
    print(on_ledger(lambda ledger: login_link(ledger, base, user)))


def service_url(settings: Settings) -> str:
    """Return where a browser on this machine finds the service."""
    is_local = settings.host in {"127.0.0.1", "::1", "0.0.0.0", "::"}  # noqa: S104 - compared, not listened on
    return f"http://{'localhost' if is_local else settings.host}:{settings.port}"


async def login_link(ledger: Ledger, base: str, user: str | None = None) -> str:
    """Return a link that signs this user in, or the first administrator. Raises NotFound, Forbidden."""
    from groat_server.operations.sessions import first_admin, make_login_link
    from groat_server.operations.users import find_user

    user_id = await first_admin(ledger) if user is None else await find_user(ledger, called(user))
    if user_id is None:
        raise NotFound("There is no administrator yet: groat user add you@example.com --admin")
    return f"{base}/?login={await make_login_link(ledger, user_id, actor=ACTOR)}"
