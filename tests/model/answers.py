"""What the ledger answers, as far as the rules say."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An outcome, and what else the rules promise to say with it; None is what they leave open."""

    outcome: str
    replayed: bool = False
    recorded_at: datetime | None = None
    version: int | None = None
    kind: str | None = None
    state: str | None = None
    amount: Decimal | None = None
    priority: int | None = None
    cost_basis: Decimal | None = None
    starts_at: datetime | None = None
    expires_at: datetime | None = None
    balance: Decimal | None = None
    held: Decimal | None = None
    available: Decimal | None = None
    next_reset_at: datetime | None = None
    hold_exceeded: bool | None = None
    late_capture: bool | None = None
    voided: bool | None = None

    def said(self) -> dict[str, object]:
        """Return what is not left open, by name."""
        return {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}


_FIELDS = tuple(field.name for field in fields(Answer))
