"""What a caller says of one use of AI, before anything is priced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal


@dataclass(slots=True, kw_only=True)  # not frozen: that alone would take as long as all else that is done to one
class Usage:
    """One use of AI by one user, as it was reported. Nobody changes it but who finds out whose it is.

    `user_id` None means that nobody is known by the name that was given. `input_tokens` includes cached tokens:
    `cache_read_tokens` and `cache_write_tokens` are parts of it, as `reasoning_tokens` is a part of `output_tokens`.
    `quantity` counts the units of an action that is priced per unit. `api_cost` is in USD and replaces the catalogue's
    cost. `occurred_at` absent means now, by the database's clock. `enforce` asks for a refusal where the credits do not
    suffice; `backfill` lets the use be older than 35 days. `hold_id` is the user's hold that this charge captures.
    """

    user_id: int | None
    idempotency_key: str
    action_type: str
    model: str | None = None
    provider: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    quantity: Decimal | None = None
    api_cost: Decimal | None = None
    occurred_at: datetime | None = None
    description: str | None = None
    session_id: str | None = None
    metadata: Mapping[str, object] | None = None
    enforce: bool = False
    backfill: bool = False
    hold_id: int | None = None
