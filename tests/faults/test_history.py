"""Two services, many callers, some of whom go away, and a kill -9: what anybody was told agrees with the books."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.embedded.waiting import wait_for
from tests.operations.ledgers import ask, new_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

ALLOWANCE = 150
CALLERS, USERS = 24, 12
ENOUGH = 1500  # answers, before one is killed and before the other is told to stop
PATIENCE_SECONDS = 60

EVENTS = """
    SELECT user_id, idempotency_key, version, balance_after, credits_charged FROM credit_usage_events
    ORDER BY user_id, version
"""


@dataclass
class Process:
    """One service's callers, and the file that they write."""

    process: subprocess.Popen[bytes]
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        """Return what was said; the last line of one that was killed may be cut off."""
        *whole, _ = self.log.read_bytes().split(b"\n")
        return [json.loads(line) for line in whole]

    def has_said(self, lines: int) -> bool:
        """Whether it has come to say so much."""
        return wait_for(lambda: self.log.read_bytes().count(b"\n") >= lines, seconds=PATIENCE_SECONDS)


@dataclass
class History:
    """What one process sent and was told."""

    sent: list[tuple[int, int, str, bool]] = field(default_factory=list)
    answers: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, process: Process) -> History:
        """Read what it wrote."""
        history = cls()
        for line in process.lines():
            if "asked" in line:
                history.sent += [(line["sent"], *asked) for asked in line["asked"]]
            elif "key" in line:
                history.answers.append(line)
        return history


@pytest.fixture
def processes() -> Iterator[dict[str, Process]]:
    """Keep what a test starts; it ends with the test."""
    started: dict[str, Process] = {}
    yield started
    for each in started.values():
        each.process.kill()
        each.process.communicate()


def start(address: Address, name: str, seed: int, users: list[int], log: Path) -> Process:
    command = [sys.executable, "-m", "tests.faults.charging", address.url, name, str(seed), str(CALLERS)]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, *map(str, users)], stdin=subprocess.PIPE, stdout=file)
    return Process(process, log)


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2])
async def test_what_anybody_was_told_agrees_with_the_books(
    ledger: Ledger, ledger_address: Address, tmp_path: Path, processes: dict[str, Process], seed: int
) -> None:
    """Taken out, one at a time, and found here: see the docstrings of tests/operations/test_batching.py."""
    users = [await new_user(ledger, ALLOWANCE) for _ in range(USERS)]
    for number, name in enumerate(("one", "other")):
        processes[name] = start(ledger_address, name, 1000 * seed + 100 * number, users, tmp_path / f"{name}.log")
    one, other = processes["one"], processes["other"]
    assert one.has_said(ENOUGH)
    assert other.has_said(ENOUGH)
    one.process.kill()
    one.process.wait()
    assert other.has_said(len(other.lines()) + ENOUGH)
    other.process.communicate(b"stop\n", timeout=PATIENCE_SECONDS)
    assert other.process.returncode == 0
    killed, stopped = History.of(one), History.of(other)

    events = ask(ledger_address, EVENTS)
    keys = {(user, key): (version, balance) for user, key, version, balance, _ in events}
    assert len(keys) == len(events)
    assert _told_and_not_booked([*killed.answers, *stopped.answers], keys) == []
    assert _gone_and_not_booked(stopped, keys) == []
    assert _overtaken([*killed.answers, *stopped.answers]) == []
    assert _out_of_turn(killed, keys) == []
    assert _out_of_turn(stopped, keys) == []
    assert _broken_chains(events) == []
    assert len(stopped.answers) > ENOUGH


def _told_and_not_booked(answers: list[dict[str, Any]], keys: dict[tuple[int, str], Any]) -> list[object]:
    """Return who was told of a booking that is not there, or is another, and of a refusal that is."""
    wrong: list[object] = []
    for answer in answers:
        stored = keys.get((answer["user"], answer["key"]))
        if answer["outcome"] == "recorded":
            if stored != (answer["version"], Decimal(answer["balance"])):
                wrong.append((answer, stored))
        elif stored is not None or answer["outcome"] not in {"insufficient_credits", "busy"}:
            wrong.append((answer, stored))
    return wrong


def _gone_and_not_booked(history: History, keys: dict[tuple[int, str], Any]) -> list[object]:
    """Return whose use was recorded nowhere: it was sent, its caller went away, and nothing could have refused it."""
    answered = {(answer["user"], answer["key"]) for answer in history.answers}
    return [
        (user, key)
        for _, user, key, enforce in history.sent
        if not enforce and (user, key) not in answered and (user, key) not in keys
    ]


def _overtaken(answers: list[dict[str, Any]]) -> list[object]:
    """Return charges that were answered before another was sent, and are booked after it; in whatever processes."""
    of_user: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for answer in answers:
        if answer["version"] is not None:
            of_user[answer["user"]].append(answer)
    wrong: list[object] = []
    for own in of_user.values():
        done = iter(sorted(own, key=lambda answer: int(answer["answered"])))
        following, highest = next(done, None), 0
        for answer in sorted(own, key=lambda answer: int(answer["sent"])):
            while following is not None and following["answered"] < answer["sent"]:
                highest = max(highest, following["version"])
                following = next(done, None)
            if answer["version"] <= highest:
                wrong.append((answer, highest))
    return wrong


def _out_of_turn(history: History, keys: dict[tuple[int, str], Any]) -> list[object]:
    """Return a process's charges that are booked before what the process sent earlier for the same user."""
    last: dict[int, int] = {}
    wrong: list[object] = []
    for sent, user, key, _ in history.sent:  # in the order of sending, which is that of the lines
        if (user, key) in keys:
            version = keys[user, key][0]
            if version < last.get(user, 0):
                wrong.append((sent, user, key, version, last[user]))
            last[user] = version
    return wrong


def _broken_chains(events: list[tuple[Any, ...]]) -> list[object]:
    """Return neighbours among a user's events, by version, whose balances do not follow from one another."""
    first = {user: balance + credits_ for user, _, _, balance, credits_ in reversed(events)}
    broken: list[object] = [user for user, balance in first.items() if balance != ALLOWANCE]
    for before, after in pairwise(events):
        if before[0] == after[0] and (after[2] != before[2] + 1 or after[3] != before[3] - after[4]):
            broken.append((before, after))
    return broken
