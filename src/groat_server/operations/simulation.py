"""What the last days would have cost under another price book. Reads only; nothing is re-priced but in the answer."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from groat_server.core.credits import trimmed
from groat_server.core.price_list import PriceList, parse_price_list
from groat_server.core.pricing import Charge, price
from groat_server.core.simulation import Move, Replay, Tally
from groat_server.core.usage import Usage
from groat_server.errors import Unprocessable
from groat_server.operations.reports import DAYS_MAX
from groat_server.sql import Statement

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from groat_server.core.price_book import PriceBook
    from groat_server.operations.ledger import Ledger

FILE_BYTES_MAX = 16 * 1024 * 1024
LISTED_MAX = 100_000
GROUPS_MAX = 10_000
"""Models and action types that are told apart, at most: their names come from outside."""
OTHERS = "(others)"
_BATCH = 1000
_TIMEOUT = "10min"

_REPLAY = Statement("prices/replay", Move)


@dataclass(frozen=True, slots=True)
class UserTally:
    """What one user's charges come to, and by how much the balance would be another now."""

    user_id: int
    email: str
    tally: Tally
    balance_difference: Decimal


@dataclass(slots=True)
class Simulation:
    """What the charges of a window come to, in all, by action type and by model ("": none was named).

    `users` are those whose cost changes most, the largest change first; `user_count` is how many have a charge.
    """

    total: Tally = field(default_factory=Tally)
    user_count: int = 0
    users: list[UserTally] = field(default_factory=list)
    by_action_type: dict[str, Tally] = field(default_factory=dict)
    by_model: dict[str, Tally] = field(default_factory=dict)


async def simulate_prices(
    ledger: Ledger, prices: PriceList, *, days: int, limit: int, as_of: datetime | None = None
) -> Simulation:
    """Re-price the charges of the last `days` days under the price book as it is, changed by `prices`.

    All of it is one snapshot. In memory is one row a listed user, action type and model, however many the charges.
    Raises Unprocessable for days and limits out of bounds.
    """
    for name, given, most in (("days", days, DAYS_MAX), ("limit", limit, LISTED_MAX)):
        if not 1 <= given <= most:
            raise Unprocessable(f"{name} is from 1 to {most}.", code="bad_window")
    found = Simulation()
    async with ledger.database.snapshot() as connection:
        book = prices.applied_to(await ledger.current_book(connection))
        await connection.execute(f"SET LOCAL statement_timeout = '{_TIMEOUT}'")
        ranking = _Ranking(limit)
        current: _Replayed | None = None
        async for moves in _REPLAY.batches(connection, _BATCH, days=days, as_of=as_of):
            for move in moves:
                if current is None or current.user_id != move.user_id:
                    ranking.take(current)
                    current = _Replayed(move)
                _replay(move, current, book, found)
        ranking.take(current)
    found.user_count = ranking.count
    found.users = ranking.users()
    return found


def read_price_list(file: Path | None) -> PriceList:
    """Return the price list in a file; without one, that changes nothing. Raises Unprocessable (bad_price_list)."""
    if file is None:
        return PriceList()
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise Unprocessable(f"{file} has more than {FILE_BYTES_MAX} bytes.", code="bad_price_list")
        return parse_price_list(content.decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise Unprocessable(f"{file} cannot be read: {error}", code="bad_price_list") from error


class _Replayed:
    """The user at hand."""

    def __init__(self, first: Move) -> None:
        self.user_id = first.user_id
        self.email = first.email
        self.tally = Tally()
        self.replay = Replay(first.monthly_allowance, first.rollover_cap)


class _Ranking:
    """The users whose cost changes most, of all those with a charge; of equal changes the lower ids."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._heap: list[tuple[Decimal, int, UserTally]] = []

    def take(self, replayed: _Replayed | None) -> None:
        """Take in a user, if there is one and has a charge."""
        if replayed is None or not replayed.tally.events:
            return
        self.count += 1
        result = UserTally(replayed.user_id, replayed.email, replayed.tally, trimmed(replayed.replay.drift))
        heapq.heappush(self._heap, (abs(replayed.tally.difference), -replayed.user_id, result))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def users(self) -> list[UserTally]:
        """Return them, the largest change first."""
        return [result for _, _, result in sorted(self._heap, reverse=True)]


def _replay(move: Move, user: _Replayed, book: PriceBook, found: Simulation) -> None:
    if move.action_type is None:
        user.replay.pass_allowance(move)
        return
    priced = price(_usage(move, move.action_type), book, move.created_at)
    simulated = priced.credits_charged if isinstance(priced, Charge) else None
    verdict = user.replay.charge(move, simulated)
    for tally in (
        found.total,
        user.tally,
        _group(found.by_action_type, move.action_type),
        _group(found.by_model, move.model or ""),
    ):
        tally.count(move.credits_charged, simulated, verdict)


def _group(groups: dict[str, Tally], name: str) -> Tally:
    if name not in groups and len(groups) >= GROUPS_MAX:
        name = OTHERS
    return groups.setdefault(name, Tally())


def _usage(move: Move, action_type: str) -> Usage:
    """Return the use as it was reported, as far as its price depends on it."""
    return Usage(
        user_id=move.user_id,
        idempotency_key="",
        action_type=action_type,
        model=move.model,
        provider=move.provider,
        input_tokens=move.input_tokens,
        output_tokens=move.output_tokens,
        cache_read_tokens=move.cache_read_tokens,
        cache_write_tokens=move.cache_write_tokens,
        reasoning_tokens=move.reasoning_tokens,
        quantity=move.quantity,
        api_cost=move.given_cost,
    )
