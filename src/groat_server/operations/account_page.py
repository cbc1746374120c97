"""One account as a person looks at it: the balance and how it came about, all of one snapshot.

By the statements of the reports, so that each part can be had by itself as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from groat_server.core.rows import AuditRow, EntryRow, EventRow, LotRow, TokenRow, UserActionUsage, UserRow
from groat_server.errors import NotFound
from groat_server.operations.accounts import settle
from groat_server.operations.reports import REPORTS
from groat_server.operations.reports.definition import OPEN_HOLDS_MAX
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from groat_server.core.report_rows import OpenHold
    from groat_server.core.table_rows import BalancePoint
    from groat_server.operations.ledger import Ledger

Part = Literal["events", "entries", "lots", "tokens", "audit"]

_SHOW = Statement("users/show", UserRow)
_PARTS: Mapping[Part, tuple[Statement[Any], Mapping[str, object]]] = {
    "events": (Statement("users/events", EventRow), {}),
    "entries": (Statement("ledger/list", EntryRow), {}),
    "lots": (Statement("lots/list", LotRow), {}),
    "tokens": (Statement("tokens/list", TokenRow), {"token_id": None, "only_working": False}),
    "audit": (Statement("audit/list", AuditRow), {}),
}


@dataclass(frozen=True, slots=True)
class AccountPage:
    """A user, the balance through the window, what it was used for, what is held, and one list of the account's."""

    user: UserRow
    line: Sequence[BalancePoint]
    actions: Sequence[UserActionUsage]
    holds: Sequence[OpenHold]
    rows: Sequence[Any]


async def account_page(
    ledger: Ledger, user_id: int, *, as_of: datetime, days: int, part: Part, place: Mapping[str, object], limit: int
) -> AccountPage:
    """Show an account as of now, of the `days` days before `as_of`; what is due has happened.

    `part` is listed newest first, so many rows from `place` on: what the list's own operation takes, absent parts null.
    Raises NotFound (unknown_user).
    """
    await settle(ledger, user_id)
    since = as_of - timedelta(days=days)
    statement, chosen = _PARTS[part]
    async with ledger.database.snapshot() as connection:
        user = await _SHOW.maybe(connection, user_id=user_id)
        if user is None:
            raise NotFound("There is no such user.", code="unknown_user")

        async def report(name: str, **values: object) -> list[Any]:
            asked = {"user_id": user_id, **values}
            statement = REPORTS[name].in_place(asked) or REPORTS[name].statement
            return await statement.all(connection, **asked)

        return AccountPage(
            user,
            await report("user-balance-line", since=since, until=None),
            await report("user-actions", days=days, as_of=as_of),
            await report("user-holds", limit=OPEN_HOLDS_MAX),
            await statement.all(connection, user_id=user_id, limit=limit, **chosen, **place),
        )
