"""`groat settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_row
from groat_server.cli.session import checked, on_ledger

if TYPE_CHECKING:
    from groat_server.core.rows import LedgerSettings
    from groat_server.operations.ledger import Ledger


def settings(
    *,
    default_allowance: Annotated[str | None, Parameter(help="Credits a month for users created later.")] = None,
    create_users: Annotated[bool | None, Parameter(help="Usage of an unknown e-mail address creates the user.")] = None,
    strict_actions: Annotated[bool | None, Parameter(help="Only registered action types may be charged.")] = None,
    output: Output = TABLE,
) -> None:
    """Show what all services on this ledger share, or change it. Prices and margin: `groat price book`."""
    from groat_server.http.admin_users import UserChange
    from groat_server.operations.shared_settings import change_settings

    allowance = None
    if default_allowance is not None:
        allowance = checked(UserChange, {"monthly_allowance": default_allowance}).monthly_allowance

    async def run(ledger: Ledger) -> LedgerSettings:
        async with ledger.database.write() as connection:
            return await change_settings(
                connection,
                default_allowance=allowance,
                create_users=create_users,
                strict_action_types=strict_actions,
            )

    print_row(on_ledger(run), output)
