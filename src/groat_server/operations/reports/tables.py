"""The ledger's tables as reports, so that each can be read everywhere and kept as a file; and one user's balance line.

The audit log and the tokens tell of administration: those two need an administrator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from groat_server.core.scopes import Scope
from groat_server.core.table_rows import (
    Account,
    ActionType,
    AuditEntry,
    BalancePoint,
    LedgerEntry,
    ListedHold,
    ListedToken,
    Lot,
    PriceInForce,
    VoidedEvent,
)
from groat_server.operations.reports.definition import (
    AS_OF,
    FROM,
    OPTIONAL_USER,
    PRICE_KIND,
    PRICE_NAME,
    SEARCH,
    TO,
    USER,
    Report,
    limited,
)
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

_SPAN = (replace(FROM, description="The first instant of the window; null: no bound."), TO)
_BY_USER = (OPTIONAL_USER, *_SPAN, limited(50))

TABLES: Mapping[str, Report] = {
    "ledger-entries": Report("Ledger entries", Statement("tables/ledger_entries", LedgerEntry), _BY_USER),
    "lots": Report("Lots and what is left of them", Statement("tables/lots", Lot), (OPTIONAL_USER, limited(50))),
    "holds": Report("Holds", Statement("tables/holds", ListedHold), _BY_USER),
    "voided-events": Report("Voided events", Statement("tables/voided_events", VoidedEvent), _BY_USER),
    "accounts": Report("All users and their balances", Statement("tables/accounts", Account), (SEARCH, limited(50))),
    "action-types": Report("Action types", Statement("tables/action_types", ActionType), (limited(50),)),
    "prices": Report(
        "Prices in force",
        Statement("tables/prices", PriceInForce),
        (
            replace(AS_OF, description="When they are in force; null: now."),
            replace(SEARCH, description="Only whose name or provider contains this, in capitals or not; null: all."),
            PRICE_KIND,
            limited(50),
        ),
    ),
    "price-history": Report(
        "All prices that one model or action had, has and will have",
        Statement("tables/price_history", PriceInForce),
        (
            PRICE_NAME,
            replace(PRICE_KIND, description="What it is the name of: a model or an action.", is_required=True),
            limited(50),
        ),
    ),
    "audit-log": Report("Administrative acts", Statement("tables/audit_log", AuditEntry), _BY_USER, scope=Scope.ADMIN),
    "tokens": Report("Access tokens", Statement("tables/tokens", ListedToken), (limited(50),), scope=Scope.ADMIN),
    "user-balance-line": Report(
        "One user's balance through time",
        Statement("tables/user_balance_line", BalancePoint),
        (USER, *_SPAN),
        Statement("rollups/user_balance_line", BalancePoint),
    ),
}
