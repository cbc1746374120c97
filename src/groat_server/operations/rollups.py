"""Roll-ups: making them again from the events, and adding up what charges leave for later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from groat_server.core.report_rows import RebuiltDay, RebuiltUsers, RollupDay
from groat_server.core.rows import Count
from groat_server.sql import Statement

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

_REBUILD_USERS = Statement("rollups/rebuild_users", RebuiltUsers)
_REBUILD_DAY = Statement("rollups/rebuild_day", RebuiltDay)
_REBUILD_REFUNDS = Statement("rollups/rebuild_refunds", Count)
_DAYS = Statement("rollups/days", RollupDay)
_ADD_UP_ACTIONS = Statement("rollups/add_up_actions", Count)

_EVENTS_AT_A_TIME = 50_000
_DAYS_AT_A_TIME = 20
_BEFORE_ALL = -(2**63)


@dataclass(slots=True)
class Rebuilt:
    """How many rows of each roll-up were other than the events say, and have been made again."""

    accounts: int = 0
    user_days: int = 0
    actions: int = 0
    hours: int = 0
    days: int = 0
    users: int = 0
    refunds: int = 0


async def rebuild_rollups(ledger: Ledger) -> Rebuilt:
    """Make all roll-ups again from the events, in short transactions and while charges run; a second run finds nothing.

    Users come first: the counts of users by day go by the users' days. Why each step is exact while charges run is said
    at its function, in `sql/definitions/rollups_reading.sql`. Raises Busy where a user stays locked.
    """
    rebuilt = Rebuilt()
    after: int | None = _BEFORE_ALL
    while after is not None:
        found = await _one(ledger, _REBUILD_USERS, after_user_id=after, most=_EVENTS_AT_A_TIME)
        rebuilt.accounts += found.accounts
        rebuilt.user_days += found.user_days
        rebuilt.actions += found.actions
        after = found.last_user_id
    async with ledger.database.write() as connection:
        days = await _DAYS.all(connection)
    for day in days:
        made = await _one(ledger, _REBUILD_DAY, day=day.day)
        rebuilt.hours += made.hours
        rebuilt.days += made.days
        rebuilt.users += made.users
    rebuilt.refunds = (await _one(ledger, _REBUILD_REFUNDS)).count
    await add_up_actions(ledger)
    return rebuilt


async def add_up_actions(ledger: Ledger) -> int:
    """Add up the actions of users' days that are over and have many events; returns how many days there were.

    In short transactions that lock nobody, and harmless in many processes at once.
    """
    added = 0
    while found := (await _one(ledger, _ADD_UP_ACTIONS, most=_DAYS_AT_A_TIME)).count:
        added += found
    return added


async def _one(ledger: Ledger, statement: Statement[Any], **parameters: object) -> Any:
    async with ledger.database.write() as connection:
        return await statement.one(connection, **parameters)
