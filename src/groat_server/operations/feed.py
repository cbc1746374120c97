"""The live feed: what has just been booked, once each, in the order in which it can be seen.

A transaction that took its instant and its id early may commit late, so whoever asks for what lies after the last id
loses events. Each look goes back some seconds further than the one before, and each tenth second or so a whole minute;
what was seen stands in a set. So an event that can be seen within a minute of its instant is never missed, and none is
told twice. (One whose transaction stayed open for longer, which no service's does, is in the reports and not in the
feed.)

One reader a process looks for all subscribers, twice a second, and only while there are any. Each look is bounded:
where more was booked than it takes, the newest is told, and how many were passed over. Nothing that is older than what
was told then is looked for again, so here the promise ends: a charge of an earlier instant that can be seen only after
such a look is neither told nor counted. A subscriber who does not keep up loses the oldest of what waits for it, and is
told how many.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from groat_server.core.feed_rows import ActiveUser, BookedEvent, FeedEvent, FeedFilter, Look
from groat_server.core.seen import Seen
from groat_server.errors import GroatError
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime

    from groat_server.operations.ledger import Ledger

LOOK_SECONDS = 0.5
LOOK_MAX = 1_000
"""Events that one look takes at most."""

QUEUE_MAX = 2_000
"""Events that wait for one subscriber at most."""

LAST_MAX = 1_000
"""Past events that a subscription can begin with at most."""

_COUNT_MAX = 10_000
_SCANNED_MAX = 50_000  # past events that are looked through for those that a filter wants
_BACK = timedelta(seconds=5)
_FAR_BACK = timedelta(minutes=1)
_LOOKS_FAR = 20  # each twentieth look goes far back
_KEPT = _FAR_BACK + timedelta(seconds=30)
_ID_MAX = 2**63 - 1
_PATIENCE_SECONDS = 0.5
_STALE_SECONDS = 55.0  # for so long, what was seen still tells what is new

_BOOKED = Statement("feed/booked", BookedEvent)
_CLOCK = Statement("feed/clock", Look)
_NEWEST = Statement("feed/newest", FeedEvent)
_ACTIVE_USERS = Statement("feed/active_users", ActiveUser)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FeedBatch:
    """Events in order, how many were passed over before them, and the position after them, to go on from."""

    events: Sequence[FeedEvent]
    skipped: int
    position: str


class Subscription:
    """What waits for one subscriber. An iterator of batches that ends when the feed does."""

    def __init__(self, feed: Feed, wanted: FeedFilter) -> None:
        self._feed = feed
        self._wanted = wanted
        self._waiting: deque[FeedEvent] = deque()
        self._skipped = 0
        self._position = feed.position
        self._told_before: set[tuple[bool, int]] = set()
        self._news = asyncio.Event()

    def begin_with(self, events: Iterable[FeedEvent]) -> None:
        """Put past events in front of what has come in by now; those among them that come in again are left out."""
        past = list(events)
        self._told_before = {event.key for event in past}
        self._waiting = deque([*past, *(event for event in self._waiting if event.key not in self._told_before)])
        self._shorten()

    def offer(self, events: Sequence[FeedEvent], skipped: int, position: str) -> None:
        """Take what was found, as far as it is wanted, and note what was passed over."""
        self._waiting.extend(
            event for event in events if self._wanted.wants(event) and event.key not in self._told_before
        )
        self._skipped += skipped
        self._position = position
        self._shorten()

    def _shorten(self) -> None:
        while len(self._waiting) > QUEUE_MAX:
            self._waiting.popleft()
            self._skipped += 1
        if self._waiting or self._skipped:
            self._news.set()

    def wake(self) -> None:
        """Let whoever waits look whether the feed has ended."""
        self._news.set()

    async def batch(self, seconds: float | None = None) -> FeedBatch | None:
        """Wait for what is new and return it; None where nothing came for so many seconds, or the feed has ended."""
        if not self._feed.is_closed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        if self._feed.failure is not None:
            raise self._feed.failure
        if not self._waiting and not self._skipped:
            return None
        batch = FeedBatch(tuple(self._waiting), self._skipped, self._position)
        self._waiting.clear()
        self._skipped = 0
        if not self._feed.is_closed:
            self._news.clear()
        return batch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedBatch:
        batch = await self.batch()
        if batch is None:
            raise StopAsyncIteration
        return batch


class Feed:
    """One process's live feed of its ledger."""

    def __init__(self, ledger: Ledger, *, look_seconds: float = LOOK_SECONDS, look_max: int = LOOK_MAX) -> None:
        self._ledger = ledger
        self._look_seconds = look_seconds
        self._look_max = look_max
        self._name = secrets.token_hex(4)
        self._subscriptions: set[Subscription] = set()
        self._beginning = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        # What the looks leave behind.
        self._seen = Seen()
        self._looked_at: datetime | None = None
        self._looked = 0.0
        self._looks = 0
        self._floor: tuple[datetime, int] | None = None
        self._number = 0
        self._recent: deque[tuple[int, FeedEvent]] = deque()
        self.is_closed = False
        self.trouble: str | None = None
        """Why the last look failed; None: it did not."""
        self.failure: Exception | None = None
        """What ended the reader before its time."""

    @property
    def position(self) -> str:
        """Where the feed is: after all that was found by now."""
        return f"{self._name}-{self._number}"

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return len(self._subscriptions)

    @property
    def is_reading(self) -> bool:
        """Whether somebody reads for the subscribers."""
        return self._reader is not None and not self._reader.done()

    @asynccontextmanager
    async def subscribe(
        self, wanted: FeedFilter | None = None, *, last: int = 0, after: str | None = None
    ) -> AsyncIterator[Subscription]:
        """Lend a subscription: to what is booked from now on, after the `last` so many that are there already.

        With `after`, a position, it goes on from there where this process still knows what came since; `last` is of no
        account then. Raises what reading the ledger raises.
        """
        subscription = Subscription(self, wanted or FeedFilter())
        try:
            async with self._beginning:
                await self._begin()
                number = self._number_after(after)
                self._subscriptions.add(subscription)
                if number is not None:
                    self._go_on(subscription, number)
            if number is None and last > 0:
                subscription.begin_with(await self.newest(wanted, last))
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def newest(self, wanted: FeedFilter | None = None, last: int = LAST_MAX) -> list[FeedEvent]:
        """Return the newest events of those that are wanted, oldest first."""
        wanted = wanted or FeedFilter()
        async with self._ledger.database.read() as connection:
            return await _NEWEST.all(
                connection,
                user_id=wanted.user_id,
                action_type=wanted.action_type,
                model=wanted.model,
                credits_least=wanted.credits_least,
                scanned=last if wanted.is_empty else _SCANNED_MAX,
                limit=min(last, LAST_MAX),
            )

    async def close(self) -> None:
        """End all subscriptions, at once, and the reader, also in the middle of a look."""
        self.end()
        while self._reader is not None and not self._reader.done():
            self._reader.cancel()  # again and again: one that comes while a connection is waited for can get lost
            await asyncio.wait([self._reader], timeout=_PATIENCE_SECONDS)

    def end(self) -> None:
        """End all subscriptions; none begins any more."""
        self.is_closed = True
        self._hurry.set()
        for subscription in self._subscriptions:
            subscription.wake()

    async def _begin(self) -> None:
        """Have the reader running, with what was booked until now among what it has seen."""
        if self.is_reading or self.is_closed:
            return
        self.failure = None
        if self._looks and time.monotonic() - self._looked < _STALE_SECONDS:
            await self._look()
        else:
            self._begin_anew()
            await self._look(is_first=True)
        if not self.is_closed:  # meanwhile
            self._reader = asyncio.create_task(self._read())

    def _begin_anew(self) -> None:
        self._seen.clear()
        self._recent.clear()
        self._name, self._number = secrets.token_hex(4), 0
        self._looked_at = self._floor = None

    def _number_after(self, position: str | None) -> int | None:
        name, _, number = (position or "").rpartition("-")
        if name != self._name or not number.isdecimal() or len(number) > len(str(self._number)):
            return None
        return min(int(number), self._number)

    def _go_on(self, subscription: Subscription, number: int) -> None:
        """Give a subscription what was found after that many, as far as it is still known."""
        known = [(each, event) for each, event in self._recent if each > number]
        lost = self._number - number - len(known)
        subscription.offer([event for _, event in known], lost, self.position)

    async def _read(self) -> None:
        """Look again and again as long as somebody is subscribed."""
        try:
            while self._subscriptions and not self.is_closed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._look_seconds)
                if self.is_closed:
                    return
                try:
                    await self._look()
                    self.trouble = None
                except GroatError as error:  # the ledger is away or busy: what it books meanwhile is found later
                    if self.trouble is None:
                        _log.warning("the feed cannot read: %s", error.detail)
                    self.trouble = error.detail
        except Exception as error:  # noqa: BLE001 - whoever waits for batches has it to raise
            self.failure = error
            _log.exception("the feed has ended")
            for subscription in self._subscriptions:
                subscription.wake()

    async def _look(self, *, is_first: bool = False) -> None:
        self._looks += 1
        back = _FAR_BACK if self._looks % _LOOKS_FAR == 0 else _BACK
        since = None if self._looked_at is None else self._looked_at - back
        floor_at, floor_id = self._floor or (None, None)
        async with self._ledger.database.read() as connection:
            # Before the look itself, so that nothing lies between the two. What is quiet has a beginning, too: were the
            # ledger away for long then, the next look would not know from when on.
            looked_at = self._looked_at or (await _CLOCK.one(connection)).looked_at
            found = await _BOOKED.all(
                connection,
                since=since,
                floor_at=floor_at,
                floor_id=floor_id,
                seen=self._seen.ids(since, acts=False),
                seen_acts=self._seen.ids(since, acts=True),
                count_max=_COUNT_MAX,
                limit=self._look_max,
            )
        self._looked = time.monotonic()
        self._looked_at = looked_at
        if found:
            # Where the server's clock was set back, the look went further back than `since`.
            new = [event for event in found if event not in self._seen]
            self._note(found)
            if not is_first:
                self._tell(new, found[0].found - len(found))

    def _note(self, found: Sequence[BookedEvent]) -> None:
        """Remember what was seen as long as a look may find it again."""
        self._looked_at = looked_at = found[0].looked_at
        self._seen.add(found)
        if found[0].found > len(found):
            # What was passed over now is not looked for again.
            edge = found[0].recorded_at
            charges = [event.id for event in found if event.recorded_at == edge and not event.is_act]
            self._floor = edge, min(charges, default=_ID_MAX)
        self._seen.forget(looked_at - _KEPT)

    def _tell(self, found: Sequence[FeedEvent], skipped: int) -> None:
        self._number += skipped
        for event in found:
            self._number += 1
            self._recent.append((self._number, event))
        while len(self._recent) > QUEUE_MAX:
            self._recent.popleft()
        for subscription in self._subscriptions:
            subscription.offer(found, skipped, self.position)


async def active_users(ledger: Ledger, *, since: int | None, known: Sequence[int], events_max: int) -> list[ActiveUser]:
    """Return who used something in the minutes from `since` (seconds since 1970; None: ever), and those who are known.

    Reads the newest `events_max` events at most; the balances of all are those of now.
    """
    async with ledger.database.read() as connection:
        return await _ACTIVE_USERS.all(connection, since=since, known=list(known), events_max=events_max)
