"""Importing a usage log: a job that goes on where it was, doubles nothing, and sets bad rows aside.

The file is read twice, each time as a stream: once for its digest, its count of rows and its latest time, and once to
be charged, batch after batch in the order of the file. While the database books one batch the next is read. After each
batch it is saved how far the job is; a run that was killed in between meets its own idempotency keys again.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from psycopg.types.json import Jsonb

from groat_server.core.credits import EXACT, ZERO, trimmed
from groat_server.core.import_rows import Claimed, ImportJob, NextLine
from groat_server.core.outcomes import DETAILS, Outcome
from groat_server.errors import Busy, Conflict, GroatError, NotFound
from groat_server.operations.import_reading import Batch, Survey, batches, survey_file
from groat_server.operations.rejects import Reject, RejectsFile
from groat_server.operations.usage import Priced, Receipt, charge_on, price_ahead
from groat_server.operations.users import ensure_users, find_users
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator, Sequence
    from decimal import Decimal
    from pathlib import Path
    from typing import Self

    from groat_server.core.usage import Usage
    from groat_server.operations.ledger import Ledger

_CLAIM = Statement("imports/claim", Claimed)
_RELEASE = Statement("imports/release", Claimed)
_OPEN_JOB = Statement("imports/open_job", ImportJob)
_SAVE_PROGRESS = Statement("imports/save_progress", NextLine)

_BACKFILL_AGE = timedelta(days=34)  # a day less than what a charge takes without: the import itself takes time
_REMEMBERED_USERS_MAX = 50_000  # of some 200 bytes each
_COLLECTED_OBJECTS = 100_000
_CLAIM_ATTEMPTS, _CLAIM_PAUSE = 10, 0.2  # the server may take a moment to notice that a killed run is gone
_CHARGE_ATTEMPTS, _CHARGE_PAUSE = 6, 0.2

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far a run is. `rows_done` are read so far, `rows_total` (once known) all; the outcomes are of this run."""

    stage: Literal["reading", "charging"]
    rows_done: int
    rows_total: int | None
    recorded: int = 0
    replayed: int = 0
    untracked: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file.

    `rows` are all of the file's; the counts, `seconds`, and `credits` and `api_cost` (USD) of the recorded rows are of
    this run alone. `shift` was added to each time in the file. `resumed_at_line` is None where the run began at the
    beginning. With `already_finished` the file had been imported before and nothing was done. `rejects` is the path of
    the file of bad rows, where this run has written any.
    """

    rows: int
    recorded: int
    replayed: int
    untracked: int
    rejected: int
    credits: Decimal
    api_cost: Decimal
    shift: timedelta
    seconds: float
    resumed_at_line: int | None
    already_finished: bool
    rejects: str | None


async def import_file(
    ledger: Ledger,
    path: Path,
    *,
    until_now: bool = False,
    create_users: bool = False,
    settled: bool = False,
    rejects: Path | None = None,
    progress: Callable[[ImportProgress], None] | None = None,
) -> ImportReport:
    """Charge each row of a usage log (CSV or JSON Lines) once, in order, however often and however far it is run.

    `until_now` shifts all times so that the last event of the file is now, the first time it is run. `create_users`
    makes users of unknown e-mail addresses. `settled` is for history that was paid for elsewhere: with each batch every
    user gets an adjustment of the same sum, so that reports are complete and no balance moves. Bad rows go to `rejects`
    (default: `<path>.rejects.csv`).

    Raises NotFound (no_such_file), Unprocessable (bad_file) for a file of unknown columns or without required ones,
    Conflict (import_running, rejects_exist, file_changed), GroatError (unreadable_file, rejects_unusable), and Busy
    where the database stays out of reach: run it again.
    """
    started = time.monotonic()
    if not await asyncio.to_thread(path.is_file):
        raise NotFound(f"There is no file {path}.", code="no_such_file")
    tell = progress or (lambda _: None)
    survey = await _survey(path, tell, with_times=until_now)
    # The job of a file is found by its options: those of today's default are the same as those of before.
    options = {"until_now": until_now, "create_users": create_users} | ({"settled": True} if settled else {})
    async with _claimed_job(ledger, survey, path, options) as job:
        run = _Run(ledger, path, survey, job, create_users=create_users, settled=settled, tell=tell)
        rejects = rejects or path.with_name(path.name + ".rejects.csv")
        if job.finished_at is None:
            with _collecting_rarely():
                await run.charge_all(RejectsFile(rejects))
    return run.report(time.monotonic() - started, rejects)


async def _survey(path: Path, tell: Callable[[ImportProgress], None], *, with_times: bool) -> Survey:
    loop = asyncio.get_running_loop()

    def told(rows: int) -> None:
        loop.call_soon_threadsafe(tell, ImportProgress("reading", rows, None))

    try:
        return await asyncio.to_thread(survey_file, path, told, with_times=with_times)
    except OSError as error:
        raise GroatError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Let the garbage collector look for cycles seldom: rows have none, and it would look through each of them.

    That took a quarter of the processor time of an import.
    """
    threshold = gc.get_threshold()
    gc.set_threshold(_COLLECTED_OBJECTS, *threshold[1:])
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


@asynccontextmanager
async def _claimed_job(
    ledger: Ledger, survey: Survey, path: Path, options: dict[str, bool]
) -> AsyncIterator[ImportJob]:
    """Open the job of a file and keep all others from it for as long as the context lasts."""
    async with ledger.database.write() as connection:
        for _ in range(_CLAIM_ATTEMPTS):
            if (await _CLAIM.one(connection, digest=survey.digest)).claimed:
                break
            await asyncio.sleep(_CLAIM_PAUSE)
        else:
            raise Conflict("This file is being imported by another process.", code="import_running")
        try:
            yield await _OPEN_JOB.one(
                connection,
                digest=survey.digest,
                file_name=path.name,
                options=Jsonb(options),
                latest=survey.latest,
            )
        finally:
            if not connection.closed:
                await _RELEASE.one(connection, digest=survey.digest)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch, and its usages as they are to be charged; `priced` where there are any."""

    batch: Batch
    usages: list[Usage]
    priced: Priced | None


@dataclass(slots=True)
class _Run:
    """One run of a job: what it remembers, and what it has done."""

    ledger: Ledger
    path: Path
    survey: Survey
    job: ImportJob
    create_users: bool = field(kw_only=True)
    settled: bool = field(kw_only=True)
    tell: Callable[[ImportProgress], None] = field(kw_only=True)
    recorded: int = 0
    replayed: int = 0
    untracked: int = 0
    rejected: int = 0
    credits: Decimal = ZERO
    api_cost: Decimal = ZERO
    _user_ids: dict[int | str, int] = field(default_factory=dict)

    async def charge_all(self, rejects: RejectsFile) -> None:
        """Charge what is left of the file. One call is in flight at a time, so each user's order is the file's."""
        await asyncio.to_thread(rejects.resume, self.job.next_line)
        next_line = self.job.next_line
        async with aclosing(self._charged()) as charged:
            async for batch, receipts in charged:
                refused = self._count(batch, receipts)
                if refused:
                    await asyncio.to_thread(rejects.append, refused)
                next_line = batch.next_line
                await self._save(next_line)
                self.tell(self._progress(batch.rows_read))
        await self._save(next_line, is_finished=True)

    def report(self, seconds: float, rejects: Path) -> ImportReport:
        """Say what this run has done."""
        return ImportReport(
            rows=self.survey.rows,
            recorded=self.recorded,
            replayed=self.replayed,
            untracked=self.untracked,
            rejected=self.rejected,
            credits=trimmed(self.credits),
            api_cost=trimmed(self.api_cost),
            shift=self.job.shift,
            seconds=seconds,
            resumed_at_line=self.job.next_line or None,
            already_finished=self.job.finished_at is not None,
            rejects=str(rejects) if self.rejected else None,
        )

    async def _charged(self) -> AsyncGenerator[tuple[Batch, list[Receipt]], None]:
        """Yield each batch once it is charged; the next one is in flight meanwhile."""
        last: Batch | None = None
        async with aclosing(self._prepared()) as prepared, _Background[list[Receipt]]() as flight:
            async for ready in prepared:
                receipts = [] if last is None else await flight.result()
                await flight.start(self._charge(ready))
                await asyncio.sleep(0)  # it is sent before anything else is done
                if last is not None:
                    yield last, receipts
                last = ready.batch
            if last is not None:
                yield last, await flight.result()

    async def _prepared(self) -> AsyncGenerator[_Ready, None]:
        """Yield each batch, ready to be charged; the next one is made ready meanwhile."""
        unread = batches(self.path, self.survey, self.job.next_line)
        async with _Background[_Ready | None]() as ahead:
            await ahead.start(self._prepare(unread))
            while (ready := await ahead.result()) is not None:
                await ahead.start(self._prepare(unread))
                yield ready

    async def _prepare(self, unread: Iterator[Batch]) -> _Ready | None:
        batch = await asyncio.to_thread(next, unread, None)
        if batch is None:
            return None
        await self._learn_users(set(batch.rows.users))
        prefix = f"import-{self.survey.digest.hex()[:32]}-"
        usages = batch.rows.usages(
            [self._user_ids.get(user) for user in batch.rows.users],
            [f"{prefix}{record.line}" for record in batch.records],
            shift=self.job.shift,
            backfill_before=self.job.instant - _BACKFILL_AGE,
        )
        async with self.ledger.database.write() as connection:
            return _Ready(batch, usages, await price_ahead(self.ledger, connection, usages) if usages else None)

    async def _learn_users(self, users: set[int | str]) -> None:
        if len(self._user_ids) + len(users - self._user_ids.keys()) > _REMEMBERED_USERS_MAX:
            self._user_ids.clear()
        unknown = await self._learn_known(sorted(users - self._user_ids.keys(), key=str))
        emails = [user for user in unknown if isinstance(user, str)]
        if self.create_users and emails:
            with suppress(Conflict):  # another process creates one of them at this very moment
                async with self.ledger.database.write() as connection:
                    await ensure_users(connection, emails)
            await self._learn_known(emails)

    async def _learn_known(self, users: Sequence[int | str]) -> list[int | str]:
        """Remember the ids of the users who exist; return the others."""
        found = await find_users(self.ledger, users) if users else []
        self._user_ids.update((user, id_) for user, id_ in zip(users, found, strict=True) if id_ is not None)
        return [user for user, id_ in zip(users, found, strict=True) if id_ is None]

    async def _charge(self, ready: _Ready) -> list[Receipt]:
        """Charge a batch; what somebody else keeps locked is sent again with its keys, a few times."""
        usages = ready.usages
        receipts: list[Receipt | None] = [None] * len(usages)
        waiting = list(range(len(usages)))
        for attempt in itertools.count(1):
            try:
                if len(waiting) == len(usages):
                    answers = await self._booked(usages, ready.priced)
                else:
                    answers = await self._booked([usages[index] for index in waiting])
            except Busy:
                if attempt >= _CHARGE_ATTEMPTS:
                    raise
            else:
                for index, receipt in zip(waiting, answers, strict=True):
                    receipts[index] = receipt
                waiting = [i for i, r in enumerate(receipts) if r is None or r.outcome is Outcome.BUSY]
                if not waiting:
                    break
                if attempt >= _CHARGE_ATTEMPTS:
                    raise Busy("Somebody keeps the balance of a user locked; run the import again.")
            await asyncio.sleep(_CHARGE_PAUSE * 2**attempt)
        return [receipt for receipt in receipts if receipt is not None]

    async def _booked(self, usages: list[Usage], ahead: Priced | None = None) -> list[Receipt]:
        if not usages:
            return []
        async with self.ledger.database.write() as connection:
            return await charge_on(self.ledger, connection, usages, settled=self.settled, ahead=ahead)

    def _count(self, batch: Batch, receipts: Sequence[Receipt]) -> list[Reject]:
        """Add up what became of a batch, and return its bad rows in order of their lines."""
        rejects = list(batch.rejects)
        for record, receipt in zip(batch.records, receipts, strict=True):
            outcome = receipt.outcome
            if outcome is Outcome.RECORDED:
                self.recorded += 1
                if receipt.charge is not None:
                    self.credits = EXACT.add(self.credits, receipt.charge.credits_charged)
                    self.api_cost = EXACT.add(self.api_cost, receipt.charge.api_cost or ZERO)
            elif outcome is Outcome.REPLAYED:
                self.replayed += 1
            elif outcome is Outcome.UNTRACKED:
                self.untracked += 1
            else:
                rejects.append(Reject(record.line, f"{outcome}: {DETAILS[outcome]}", record.raw))
        self.rejected += len(rejects)
        return sorted(rejects, key=lambda reject: reject.line)

    async def _save(self, next_line: int, *, is_finished: bool = False) -> None:
        async with self.ledger.database.write() as connection:
            await _SAVE_PROGRESS.one(
                connection,
                id=self.job.id,
                next_line=next_line,
                recorded=self.job.recorded + self.recorded,
                replayed=self.job.replayed + self.replayed,
                rejected=self.job.rejected + self.rejected,
                is_finished=is_finished,
            )

    def _progress(self, rows: int) -> ImportProgress:
        return ImportProgress(
            "charging", rows, self.survey.rows, self.recorded, self.replayed, self.untracked, self.rejected
        )


class _Background(Generic[Result]):
    """At most one task beside the main one: the next waits for it, and leaving the context does."""

    def __init__(self) -> None:
        self._task: asyncio.Task[Result] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._task is None:
            return
        if kind is None:
            await self._task
        else:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def start(self, work: Coroutine[None, None, Result]) -> None:
        """Start `work` once the task before has ended. Raises what that one raised."""
        try:
            if self._task is not None:
                await self._task
        except BaseException:
            work.close()
            raise
        self._task = asyncio.create_task(work)

    async def result(self) -> Result:
        """Wait for the task and return its result."""
        if self._task is None:
            raise AssertionError("nothing was started")
        return await self._task
