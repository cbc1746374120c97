"""Sessions that are stepped statement by statement, in every order; who waits for whom is asked of the server."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.operations.ledgers import connect, rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from groat_server.database import Address

PATIENCE_SECONDS = 20
GLANCE_SECONDS = 0.002
Answer: TypeAlias = list[tuple[Any, ...]]


@dataclass(slots=True)
class Session:
    """A connection in a thread of its own, so that a statement that waits stops nobody else."""

    connection: psycopg.Connection[tuple[Any, ...]]
    thread: ThreadPoolExecutor
    pending: Future[Answer] | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the last statement has no answer yet."""
        return self.pending is not None and not self.pending.done()

    def send(self, step: str) -> None:
        """Run a statement, or several; it may come to wait."""
        self.pending = self.thread.submit(_run, self.connection, step)

    def answer(self) -> Answer:
        """Return the answer to the last statement; raises what it raised."""
        assert self.pending is not None
        return self.pending.result(timeout=PATIENCE_SECONDS)


@dataclass(slots=True)
class Stage:
    """The sessions, and a connection that watches them."""

    sessions: list[Session]
    watch: psycopg.Connection[tuple[Any, ...]]
    waits: int = 0
    _left: list[list[str]] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)

    def play(self, scripts: Sequence[Sequence[str]], order: Sequence[int]) -> list[Answer]:
        """Send the scripts' statements in this order of sessions; returns each session's answers, one after another.

        A session that waits for another is passed over until it has its answer, as a real one would be.
        """
        self._left = [list(script) for script in scripts]
        self._answers = [[] for _ in scripts]
        turns = list(order)
        while turns:
            place = next(place for place, session in enumerate(turns) if not self.sessions[session].is_waiting)
            self._step(turns.pop(place))
        for session in range(len(scripts)):
            self._collect(session)
        return self._answers

    def _step(self, number: int) -> None:
        session = self.sessions[number]
        self._collect(number)
        session.send(self._left[number].pop(0))
        self._rest(session)
        self.waits += session.is_waiting
        # Its answer may have let others go on: they come to rest before anything else is sent.
        for other in self.sessions:
            self._rest(other)

    def _rest(self, session: Session) -> None:
        """Wait until a session has its answer, or waits for another one."""
        give_up_at = monotonic() + PATIENCE_SECONDS
        while session.pending is not None and not session.pending.done():
            wait([session.pending], timeout=GLANCE_SECONDS)
            pid = session.connection.info.backend_pid
            if rows(self.watch, "SELECT 1 FROM unnest(pg_blocking_pids(%s))", [pid]):
                return
            assert monotonic() < give_up_at

    def _collect(self, number: int) -> None:
        session = self.sessions[number]
        if session.pending is not None:
            self._answers[number] += session.answer()
            session.pending = None


def _run(connection: psycopg.Connection[tuple[Any, ...]], step: str) -> Answer:
    cursor = connection.execute(step.encode())
    while cursor.nextset():
        pass
    return cursor.fetchall() if cursor.description else []


@contextmanager
def stage(address: Address, size: int) -> Iterator[Stage]:
    """Set up so many sessions; a deadlock is found at once."""
    with ExitStack() as stack:
        sessions = [
            Session(
                stack.enter_context(connect(address, deadlock_timeout="10ms", lock_timeout="20s")),
                stack.enter_context(ThreadPoolExecutor(1)),
            )
            for _ in range(size)
        ]
        yield Stage(sessions, stack.enter_context(connect(address)))


def orders(lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield each order in which sessions can take so many steps each."""
    if not any(lengths):
        yield ()
    for session, left in enumerate(lengths):
        if left:
            rest = [length - (place == session) for place, length in enumerate(lengths)]
            for tail in orders(rest):
                yield (session, *tail)
