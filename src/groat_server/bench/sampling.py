"""Callers that do one thing again and again for some seconds, and what was seen of it."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from groat_server.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

KEY_LENGTH = 36  # as long as a UUID
_KEY_BITS = KEY_LENGTH * 4

ACTION_TYPE = "ai_chat_message"
MODEL = "claude-3-5-sonnet"
INPUT_TOKENS, OUTPUT_TOKENS = 1000, 500


@dataclass(frozen=True, slots=True)
class Sample:
    """So many charges took so many seconds; `p50` and `p99` are the seconds that a call took."""

    charges: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Charges a second."""
        return self.charges / self.seconds


class Draw:
    """Users `first` to `last` drawn evenly, by a fixed seed, and keys that are new."""

    def __init__(self, first: int, last: int) -> None:
        self._users = random.Random(1)  # noqa: S311 - spreads load, guards nothing
        self._keys = random.Random()  # noqa: S311 - the same
        self._first, self._last = first, last

    def user(self) -> int:
        """Return a user's id."""
        return self._users.randint(self._first, self._last)

    def key(self) -> str:
        """Return a key that nobody has used."""
        return f"{self._keys.getrandbits(_KEY_BITS):0{KEY_LENGTH}x}"


def usage_of(user_id: int, key: str, *, enforce: bool = False) -> Usage:
    """Return the use that every side charges: 0.105 credits."""
    return Usage(
        user_id=user_id,
        idempotency_key=key,
        action_type=ACTION_TYPE,
        model=MODEL,
        input_tokens=INPUT_TOKENS,
        output_tokens=OUTPUT_TOKENS,
        enforce=enforce,
    )


def percentile(times: Sequence[float], share: float) -> float:
    """Return the time that `share` of the sorted times do not exceed."""
    return times[min(len(times) - 1, int(len(times) * share))]


async def sample(callers: int, seconds: float, one: Callable[[], Awaitable[int]]) -> Sample:
    """Let `callers` call `one` (which returns its charges) for so long, each anew once its last call is answered."""
    times: list[float] = []
    charges = 0
    clock = time.perf_counter
    began = clock()
    until = began + seconds

    async def caller() -> None:
        nonlocal charges
        while (started := clock()) < until:
            made = await one()  # in two steps: others add to it in the meantime
            charges += made
            times.append(clock() - started)

    await asyncio.gather(*(caller() for _ in range(callers)))
    took = clock() - began
    times.sort()
    return Sample(charges, took, percentile(times, 0.5), percentile(times, 0.99))
