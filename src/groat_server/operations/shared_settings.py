"""The settings that all services on a ledger share, stored with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groat_server.core.rows import LedgerSettings
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from groat_server.database import Connection

_SHOW = Statement("settings/show", LedgerSettings)
_CHANGE = Statement("settings/change", LedgerSettings)


async def show_settings(connection: Connection) -> LedgerSettings:
    """Show the settings."""
    return await _SHOW.one(connection)


async def change_settings(
    connection: Connection,
    *,
    default_allowance: Decimal | None = None,
    create_users: bool | None = None,
    strict_action_types: bool | None = None,
    alert_below: Sequence[Decimal] | None = None,
) -> LedgerSettings:
    """Change what is given, from now on, for all services; None leaves it as it is.

    `default_allowance` (credits a month) is for users who are created later. `alert_below` are up to ten balances: a
    charge that takes a user down to one of them leaves an alert.
    """
    return await _CHANGE.one(
        connection,
        default_allowance=default_allowance,
        create_users=create_users,
        strict_action_types=strict_action_types,
        alert_below=None if alert_below is None else sorted(set(alert_below), reverse=True),
    )
