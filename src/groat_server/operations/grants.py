"""Credits given and taken by hand: grants and adjustments, each once under its key."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from groat_server.core.rows import OperationRow
from groat_server.operations.booking import booking
from groat_server.sql import Statement

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from groat_server.operations.ledger import Ledger

GrantKind = Literal["purchase", "promotion"]

_GRANT = Statement("grants/grant", OperationRow)
_ADJUST = Statement("grants/adjust", OperationRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Credits to give. `priority`: lower is spent sooner; absent, as the kind has it. `cost_basis`: USD a credit.

    `starts_at` in the future: they come then. `expires_at` absent: never.
    """

    user_id: int
    key: str
    kind: GrantKind
    amount: Decimal
    priority: int | None = None
    cost_basis: Decimal | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    reason: str | None = None
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjustment:
    """A correction of a balance, up or down; `expires_at` is for one upwards."""

    user_id: int
    key: str
    amount: Decimal
    expires_at: datetime | None = None
    reason: str
    actor: str


async def grant_credits(ledger: Ledger, grant: Grant) -> OperationRow:
    """Give a user credits."""
    async with booking(ledger, grant.user_id) as connection:
        return await _GRANT.one(connection, **asdict(grant))


async def adjust_credits(ledger: Ledger, adjustment: Adjustment) -> OperationRow:
    """Correct a balance by hand."""
    async with booking(ledger, adjustment.user_id) as connection:
        return await _ADJUST.one(connection, **asdict(adjustment))
