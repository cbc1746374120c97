"""`groat settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from groat_server.cli.output import TABLE, Output, print_row
from groat_server.cli.session import ACTOR, checked, on_ledger
from groat_server.core.values import ALLOWANCE_MAX, amount
from groat_server.errors import Unprocessable

if TYPE_CHECKING:
    from decimal import Decimal

    from groat_server.core.rows import LedgerSettings
    from groat_server.operations.ledger import Ledger


def settings(
    *,
    default_allowance: Annotated[str | None, Parameter(help="Credits a month for users created later.")] = None,
    create_users: Annotated[bool | None, Parameter(help="Usage of an unknown e-mail address creates the user.")] = None,
    strict_actions: Annotated[bool | None, Parameter(help="Only registered action types may be charged.")] = None,
    alert_below: Annotated[
        str | None, Parameter(help="Up to ten balances, such as 20,5,0: falling to one leaves an alert. '' for none.")
    ] = None,
    output: Output = TABLE,
) -> None:
    """Show what all services on this ledger share, or change it. Prices and margin: `groat price book`."""
    from groat_server.http.admin_users import UserChange
    from groat_server.operations.shared_settings import change_settings

    allowance = None
    if default_allowance is not None:
        allowance = checked(UserChange, {"monthly_allowance": default_allowance}).monthly_allowance

    thresholds = None if alert_below is None else [_threshold(text) for text in alert_below.split(",") if text.strip()]

    async def run(ledger: Ledger) -> LedgerSettings:
        async with ledger.database.act(ACTOR) as connection:
            return await change_settings(
                connection,
                default_allowance=allowance,
                create_users=create_users,
                strict_action_types=strict_actions,
                alert_below=thresholds,
            )

    print_row(on_ledger(run), output)


def _threshold(text: str) -> Decimal:
    """Read one threshold, a balance in credits; it may be negative, where there is an overdraft."""
    sign, digits = (-1, text.strip()[1:]) if text.strip().startswith("-") else (1, text.strip())
    try:
        return sign * amount(digits, most=ALLOWANCE_MAX)
    except ValueError as error:
        raise Unprocessable(f"--alert-below: {text.strip()!r} {error}.") from error
