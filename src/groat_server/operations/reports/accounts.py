"""Reports on accounts: all balances, who runs out, and one user's account."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from groat_server.core.report_rows import Alert, OpenHold, Runway
from groat_server.core.rows import BalanceRow, EventRow, UserActionUsage
from groat_server.operations.reports.definition import (
    AS_OF,
    DAYS,
    OPEN_HOLDS_MAX,
    SEARCH,
    SORT_BY,
    USER,
    WINDOW,
    Report,
    limited,
)
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL_USERS = Report(
    "All users' balances",
    Statement("reports/users", BalanceRow),
    (limited(50), SORT_BY, SEARCH),
    paging={"after_number": None, "after_text": None, "after_user_id": None},
    paging_columns=frozenset({"sort_number", "sort_text", "total"}),
)
USER_EVENTS = Report(
    "One user's newest events", Statement("reports/user_events", EventRow), (USER, *WINDOW, limited(20))
)
USER_ACTIONS = Report(
    "One user's usage by action type",
    Statement("reports/user_actions", UserActionUsage),
    (USER, *WINDOW),
    Statement("rollups/user_actions", UserActionUsage),
)
USER_HOLDS = Report("One user's open holds", Statement("reports/user_holds", OpenHold), (USER, limited(OPEN_HOLDS_MAX)))

ACCOUNTS: Mapping[str, Report] = {
    "users": ALL_USERS,
    "runway": Report(
        "How long each user's credits last",
        Statement("reports/runway", Runway),
        (replace(DAYS, default=7), AS_OF, limited(50)),
    ),
    "alerts": Report("Balances that fell to a threshold", Statement("reports/alerts", Alert), (limited(50),)),
    "user-events": USER_EVENTS,
    "user-actions": USER_ACTIONS,
    "user-holds": USER_HOLDS,
}
