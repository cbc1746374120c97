"""The group commit: charges of many callers are collected while a batch is in flight, and written as the next one.

One task with a connection of its own takes whatever is waiting as soon as its connection is idle, so there is no timer,
and a charge that comes alone is written alone, at once. Balances that somebody else keeps locked are passed over
(`skip_locked`): their charges go to a side queue, served by a second task on a second connection, which alone waits for
locks. Later charges of such a user queue behind them, so that each user's charges are booked in the order in which they
came; all others proceed.

What was accepted is written, whether or not its caller still waits: on shutdown too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import psycopg
from psycopg.errors import LockNotAvailable, QueryCanceled

from groat_server.core.import_rows import Instant
from groat_server.core.outcomes import Outcome
from groat_server.core.rows import BearerRow, UserId
from groat_server.database import DETAIL_UNKNOWN, LOCK_TIMEOUT, RETRY_AFTER
from groat_server.errors import Busy, GroatError
from groat_server.operations.arrays import flags, numbers, texts
from groat_server.operations.supervision import Worker
from groat_server.operations.usage import Booker, Receipt
from groat_server.operations.users import ExternalId, UserName, resolve_to_charge
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.usage import Usage
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.wire import Wire
    from groat_server.settings import QueueSettings

_RESOLVE = Statement("users/resolve", UserId)
_VERIFY = Statement("tokens/verify", BearerRow)
_AWAIT_BALANCE = Statement("usage/await_balance", Instant)

WAIT_SECONDS = 2.0
"""How long a charge waits for a balance that somebody else keeps locked."""

_SLICE = "50ms"  # of waiting for one locked balance, before others have their turn
_BATCH_BYTES_MAX = 8 * 2**20
_USAGE_BYTES = 256  # of a usage, without its texts
_METADATA_BYTES = 4096  # at most
_BUSY = "The ledger is busy; send the same request again."
_MALFORMED = (psycopg.DatabaseError, UnicodeEncodeError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bearer:
    """By what a caller's rights were judged, a moment ago: the token, and whether its user was an administrator."""

    token_id: int
    is_admin: bool


class StaleBearer(Exception):
    """The caller's rights are not what they were judged by; nothing was charged."""


class Observer(Protocol):
    """Whoever keeps the figures of a batcher."""

    def wrote(self, charges: int, seconds: float, queued: int) -> None:
        """Note a batch that was written, how long that took, and how many charges wait by now."""

    def refused(self, charges: int, queued: int) -> None:
        """Note charges that were not taken, and how many wait."""


class _Submission:
    """Usages that came together. The future has their receipts once all are answered, or why there are none."""

    __slots__ = ("bearer", "future", "is_closed", "left", "receipts", "size", "usages", "users")

    def __init__(
        self, usages: Sequence[Usage], users: Sequence[UserName] | None, bearer: Bearer | None, size: int
    ) -> None:
        self.usages = usages
        self.users = users
        self.bearer = bearer
        self.size = size
        self.receipts: list[Receipt | None] = [None] * len(usages)
        self.left = len(usages)
        self.is_closed = False
        self.future: asyncio.Future[list[Receipt]] = asyncio.get_running_loop().create_future()


class _Charge:
    """One usage of a submission, on its way. In the side queue it waits until `until`."""

    __slots__ = ("place", "submission", "until", "usage")

    def __init__(self, submission: _Submission, place: int, usage: Usage) -> None:
        self.submission = submission
        self.place = place
        self.usage = usage
        self.until = 0.0


class Batcher:
    """Writes the charges of one process. Starts with the first of them; `close` ends it."""

    def __init__(self, ledger: Ledger, bounds: QueueSettings) -> None:
        self.observer: Observer | None = None
        self._ledger = ledger
        self._bounds = bounds
        self._queue: deque[_Submission] = deque()
        self._queued = self._bytes = 0
        self._open = 0  # submissions that are not answered
        self._flight: Sequence[_Submission] = ()
        self._is_closing = False
        self._drained = asyncio.Event()
        self._main = Worker("the batcher", ledger.database.address, LOCK_TIMEOUT, self._work, self._abandon)
        self._side = _SideQueue(self, ledger, bounds)

    @property
    def queued(self) -> int:
        """How many charges wait to be written."""
        return self._queued + self._side.count

    @property
    def is_alive(self) -> bool:
        """Whether its tasks run, or have not been needed yet."""
        return self._main.is_alive and self._side.worker.is_alive

    async def charge(
        self,
        usages: Sequence[Usage],
        *,
        users: Sequence[UserName] | None = None,
        bearer: Bearer | None = None,
    ) -> list[Receipt]:
        """Charge these usages in one batch, in order, after all that came before them; one receipt each, in order.

        `users` says what the request calls each usage's user, to be found with the batch. `bearer` is verified with it.
        Durable once it returns; a caller who does not wait for that is charged all the same. Raises Busy where too much
        is waiting already or where the outcome is unknown, and StaleBearer.
        """
        if not usages:
            return []
        count = len(usages)
        size = _size(usages[0]) if count == 1 else sum(map(_size, usages))
        if self._is_closing:
            raise self._refusal(count, "The service is ending; send the same request again.")
        if self._queued and (
            self._queued + count > self._bounds.charges_max or self._bytes + size > self._bounds.bytes_max
        ):
            raise self._refusal(count, "Too many charges are waiting already; send the same request again.")
        submission = _Submission(usages, users, bearer, size)
        self._queue.append(submission)
        self._queued += count
        self._bytes += size
        self._open += 1
        self._main.wake()
        return await submission.future

    async def close(self) -> None:
        """Take nothing more, finish what was taken, and end."""
        self._is_closing = True
        if self._open or self._side.count:
            await self._drained.wait()
        await self._main.stop()
        await self._side.worker.stop()

    def answered(self, submission: _Submission, place: int, receipt: Receipt) -> None:
        """Note what became of one usage; the caller hears of it when all of the submission are answered."""
        submission.receipts[place] = receipt
        submission.left -= 1
        if submission.left == 0 and not submission.is_closed:
            if not submission.future.done():
                submission.future.set_result(submission.receipts)  # type: ignore[arg-type] # none is left
            self._closed(submission)

    def failed(self, submission: _Submission, error: Exception) -> None:
        """Tell the caller that there are no receipts, and why."""
        if not submission.is_closed:
            if not submission.future.done():
                submission.future.set_exception(error)
            self._closed(submission)

    def _closed(self, submission: _Submission) -> None:
        submission.is_closed = True
        self._open -= 1
        self.check_drained()

    def check_drained(self) -> None:
        """Let `close` go on once nothing is left to do."""
        if self._is_closing and not self._open and not self._side.count:
            self._drained.set()

    def _refusal(self, charges: int, detail: str) -> Busy:
        if self.observer is not None:
            self.observer.refused(charges, self.queued)
        return Busy(detail, headers=RETRY_AFTER)

    async def _work(self) -> None:
        """Write batch after batch."""
        while True:
            if not self._queue:
                await self._main.sleep()
                continue
            try:
                wire = await self._main.connected()
            except psycopg.OperationalError:
                _log.exception("the batcher cannot connect")
                self._give_up()
                continue
            self._flight = self._take()
            await self._write(wire, self._flight)
            self._flight = ()

    def _take(self) -> list[_Submission]:
        """Take the submissions of the next batch: whole ones, in order, as many as fit."""
        taken: list[_Submission] = []
        count = size = 0
        while self._queue:
            following = self._queue[0]
            count += len(following.usages)
            size += following.size
            if taken and (count > self._bounds.batch_max or size > _BATCH_BYTES_MAX):
                break
            taken.append(self._queue.popleft())
            self._queued -= len(following.usages)
            self._bytes -= following.size
        return taken

    async def _write(self, wire: Wire, taken: Sequence[_Submission]) -> None:
        """Write one batch, and answer for it."""
        if any(submission.bearer is not None or submission.users is not None for submission in taken):
            try:
                taken = await self._admitted(wire, taken)
            except psycopg.OperationalError as error:  # nothing is booked yet
                self._lost(error)
                for submission in taken:
                    self.failed(submission, Busy(_BUSY, headers=RETRY_AFTER))
                return
        charges = [
            _Charge(submission, place, usage) for submission in taken for place, usage in enumerate(submission.usages)
        ]
        if self._side.count:
            charges = [charge for charge in charges if not self._side.has_taken(charge)]
        if not charges:
            return
        for charge, receipt in zip(charges, await self.book(wire, charges, waits=False), strict=True):
            if receipt is not None and receipt.outcome is Outcome.BUSY:
                self._side.take(charge)
            else:
                self.settle(charge, receipt)

    async def book(self, wire: Wire, charges: Sequence[_Charge], *, waits: bool) -> list[Receipt | None]:
        """Book these charges; None for those of which nobody knows what has become."""
        clock = asyncio.get_running_loop().time
        booker = Booker(self._ledger, wire, [charge.usage for charge in charges], waits=waits)
        began = clock()
        try:
            await booker.book()
        except psycopg.OperationalError as error:
            self._lost(error)
        except GroatError as error:
            for charge, receipt in zip(charges, booker.found, strict=True):
                if receipt is None:
                    self.failed(charge.submission, error)
        if self.observer is not None:
            self.observer.wrote(len(charges), clock() - began, self.queued)
        return booker.found

    def settle(self, charge: _Charge, receipt: Receipt | None) -> None:
        """Answer for one charge; None: nobody knows what has become of it."""
        if receipt is None:
            self.failed(charge.submission, _unknown())
        else:
            self.answered(charge.submission, charge.place, receipt)

    async def _admitted(self, wire: Wire, taken: Sequence[_Submission]) -> list[_Submission]:
        """Verify who has sent these, and find whom they name; return those that are to be charged."""
        stale = await _stale(wire, list({each.bearer for each in taken if each.bearer is not None}))
        for submission in taken:
            if submission.bearer in stale:
                self.failed(submission, StaleBearer())
        named = [each for each in taken if each.users is not None and not each.is_closed]
        try:
            await _find_users(wire, named)
        except _MALFORMED:  # one of them does it to all: then each stands for itself
            for submission in named:
                try:
                    await _find_users(wire, [submission])
                except _MALFORMED as error:
                    self.failed(submission, error)
        return [submission for submission in taken if not submission.is_closed]

    def _lost(self, error: Exception) -> None:
        _log.warning("the batcher has lost its connection: %s", error)

    def _give_up(self) -> None:
        """Refuse whatever is waiting: there is no database."""
        while self._queue:
            for submission in self._take():
                self.failed(submission, Busy(_BUSY, headers=RETRY_AFTER))

    def _abandon(self) -> None:
        for submission in self._flight:
            self.failed(submission, _unknown())
        self._flight = ()


class _SideQueue:
    """Charges of users whose balances somebody else keeps locked, each user's in the order in which they came."""

    def __init__(self, batcher: Batcher, ledger: Ledger, bounds: QueueSettings) -> None:
        self.count = 0
        self.worker = Worker("the side queue", ledger.database.address, _SLICE, self._work, self._abandon)
        self._batcher = batcher
        self._bounds = bounds
        self._waiting: dict[int | None, deque[_Charge]] = {}
        self._flight: Sequence[_Charge] = ()

    def has_taken(self, charge: _Charge) -> bool:
        """Take a charge whose user is waiting already; tell whether that is so."""
        if charge.usage.user_id not in self._waiting:
            return False
        self.take(charge)
        return True

    def take(self, charge: _Charge) -> None:
        """Take a charge behind those of its user; where there is no more room, it is answered at once."""
        if self.count >= self._bounds.charges_max:
            self._answer_busy(charge)
            return
        charge.until = asyncio.get_running_loop().time() + WAIT_SECONDS
        self._waiting.setdefault(charge.usage.user_id, deque()).append(charge)
        self.count += 1
        self.worker.wake()

    async def _work(self) -> None:
        """Book whatever can be booked; for one locked balance after the other, wait a moment."""
        while True:
            if not self._waiting:
                await self.worker.sleep()
                continue
            try:
                wire = await self.worker.connected()
            except psycopg.OperationalError:
                _log.exception("the side queue cannot connect")
                self._expire(float("inf"))
                continue
            self._expire(asyncio.get_running_loop().time())
            if len(self._waiting) > 1 and await self._sweep(wire):
                continue
            if self._waiting:
                await self._wait(wire, next(iter(self._waiting)))

    async def _sweep(self, wire: Wire) -> bool:
        """Book those whose balances are free by now; tell whether there were any."""
        every = (charge for charges in self._waiting.values() for charge in charges)
        return await self._book(wire, list(islice(every, self._bounds.batch_max)), waits=False)

    async def _wait(self, wire: Wire, user_id: int | None) -> None:
        """Wait a moment for one balance, and book its user's charges if it comes free."""
        try:
            await wire.rows(_AWAIT_BALANCE.name, {"user_id": None if user_id is None else str(user_id)})
        except (LockNotAvailable, QueryCanceled):
            self._waiting[user_id] = self._waiting.pop(user_id)  # others have their turn
        except psycopg.OperationalError as error:
            _log.warning("the side queue has lost its connection: %s", error)
        else:
            await self._book(wire, list(islice(self._waiting[user_id], self._bounds.batch_max)), waits=True)

    async def _book(self, wire: Wire, charges: Sequence[_Charge], *, waits: bool) -> bool:
        """Book these, the first of their users; those that are busy stay, unless they were waited for."""
        self._flight = charges
        found = await self._batcher.book(wire, charges, waits=waits)
        self._flight = ()
        has_served = False
        for charge, receipt in zip(charges, found, strict=True):
            user_id = charge.usage.user_id
            if receipt is not None and receipt.outcome is Outcome.BUSY and not waits:
                self._waiting[user_id] = self._waiting.pop(user_id)
                continue
            has_served = True
            self._leave(charge)
            self._batcher.settle(charge, receipt)
        return has_served

    def _leave(self, charge: _Charge) -> None:
        """Take the first charge of its user out."""
        charges = self._waiting[charge.usage.user_id]
        charges.popleft()
        if not charges:
            del self._waiting[charge.usage.user_id]
        self.count -= 1

    def _expire(self, now: float) -> None:
        """Answer those that have waited long enough."""
        for user_id, charges in list(self._waiting.items()):
            while user_id in self._waiting and charges[0].until <= now:
                charge = charges[0]
                self._leave(charge)
                self._answer_busy(charge)

    def _answer_busy(self, charge: _Charge) -> None:
        self._batcher.settle(charge, Receipt(Outcome.BUSY, charge.usage))
        self._batcher.check_drained()

    def _abandon(self) -> None:
        for charge in self._flight:
            self._leave(charge)
            self._batcher.settle(charge, None)
        self._flight = ()


async def _stale(wire: Wire, bearers: Sequence[Bearer]) -> set[Bearer | None]:
    """Return those by whom nobody may be judged any more."""
    if not bearers:
        return set()
    rows = await wire.rows(
        _VERIFY.name,
        {
            "token_ids": numbers([bearer.token_id for bearer in bearers]),
            "admins": flags([bearer.is_admin for bearer in bearers]),
        },
    )
    return {bearer for bearer, (holds,) in zip(bearers, rows, strict=True) if not holds}


async def _find_users(wire: Wire, submissions: Sequence[_Submission]) -> None:
    """Put into the usages whose they are. An id is taken as it is: the charge finds out whether it is anybody's."""
    names = list({name for each in submissions for name in each.users or () if not isinstance(name, int)})
    ids = await _resolved(wire, names) if names else {}
    for submission in submissions:
        for usage, name in zip(submission.usages, submission.users or (), strict=True):
            usage.user_id = name if isinstance(name, int) else ids[name]


async def _resolved(wire: Wire, names: Sequence[str | ExternalId]) -> dict[UserName, int | None]:
    rows = await wire.rows(
        _RESOLVE.name,
        {
            "ids": numbers([None] * len(names)),
            "emails": texts([name if isinstance(name, str) else None for name in names]),
            "external_ids": texts([name.external_id if isinstance(name, ExternalId) else None for name in names]),
        },
    )
    ids: list[int | None] = [user_id for (user_id,) in rows]
    if any(user_id is None and isinstance(name, str) for name, user_id in zip(names, ids, strict=True)):
        ids = await resolve_to_charge(wire.connection, names)
    return dict(zip(names, ids, strict=True))


def _unknown() -> Busy:
    return Busy(DETAIL_UNKNOWN, code="outcome_unknown", headers=RETRY_AFTER)


def _size(usage: Usage) -> int:
    """Return about how many bytes a usage takes while it waits, rather too many than too few."""
    size = _USAGE_BYTES + len(usage.idempotency_key)
    if usage.description is not None:
        size += len(usage.description)
    return size if usage.metadata is None else size + _METADATA_BYTES
