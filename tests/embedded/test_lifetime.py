"""The server lives exactly as long as somebody holds it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.embedded import hold
from groat_server.embedded.locks import Lock
from groat_server.embedded.waiting import wait_for

if TYPE_CHECKING:
    from tests.embedded.conftest import Holders


def test_a_server_whose_only_holder_is_killed_ends_within_three_seconds(holders: Holders) -> None:
    """The supervisor's look at the holders' lock. Seen to fail with `has_come` heeding signals alone."""
    holder = holders.start()
    assert holder.said["started"]
    postmaster, supervisor = holders.postmaster(), holders.supervisor()
    holder.kill()
    assert holders.ends(postmaster, within=3)
    assert holders.ends(supervisor, within=1)
    with hold(holders.place.directory) as server:
        assert server.started
        assert holders.was_shut_down_cleanly()


def test_two_processes_share_a_server_that_ends_after_the_last(holders: Holders) -> None:
    """Shared locks and the exclusive one of the last. Seen to fail with a `_leave` that always ends the server."""
    first = holders.start()
    assert first.said["started"]
    second = holders.start()
    assert not second.said["started"]
    assert second.said["url"] == first.said["url"]
    postmaster = holders.postmaster()
    first.leave()
    assert holders.ask(second.said["url"], "SELECT 1") == 1
    second.leave()
    assert not holders.runs(postmaster)


def test_the_last_to_leave_returns_when_the_server_has_ended(holders: Holders) -> None:
    """A container ends with its first process: the wait in `_leave`. Seen to fail without it."""
    with hold(holders.place.directory) as server:
        postmaster = holders.postmaster()
    assert not holders.runs(postmaster)
    with pytest.raises(psycopg.OperationalError):
        holders.ask(server.url, "SELECT 1")


def test_three_processes_at_once_make_one_cluster_and_one_server(cold: Holders) -> None:
    """The locks for starting and of the supervisor. Seen to fail with neither (each alone is enough for this)."""
    three = [cold.start() for _ in range(3)]
    assert sorted(holder.said["started"] for holder in three) == [False, False, True]
    systems = {cold.ask(h.said["url"], "SELECT system_identifier FROM pg_control_system()") for h in three}
    assert len(systems) == 1
    assert cold.place.log.read_text().count("starting PostgreSQL") == 1


def test_who_comes_while_the_server_is_ending_gets_a_fresh_one(holders: Holders) -> None:
    """The supervisor keeps newcomers out until it is gone. Seen to fail if it lets go of their lock before."""
    first = holders.start()
    assert first.said["started"]
    ending = holders.postmaster()
    os.kill(ending, signal.SIGSTOP)  # it cannot end yet
    first.kill()
    try:
        assert wait_for(lambda: not holders.place.report.exists(), seconds=3)
        second = holders.start()
        with Lock(holders.place.holders) as newcomer:
            assert not newcomer.take_shared()
    finally:
        os.kill(ending, signal.SIGCONT)
    assert second.said["started"]
    assert holders.postmaster() != ending
    assert holders.ask(second.said["url"], "SELECT 1") == 1


def test_a_forked_child_does_not_keep_the_server_alive(holders: Holders) -> None:
    """The hook after fork. Seen to fail without it: the child's copy of the descriptor keeps the lock."""
    holder = holders.start(fork=True)
    child, postmaster = holder.said["child"], holders.postmaster()
    holder.process.kill()
    try:
        assert holders.ends(postmaster, within=3)
        assert holders.runs(child)
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_ends_nothing(holders: Holders) -> None:
    """The same hook. Seen to fail without it: the child that ends in good order acts as the last holder."""
    holder = holders.start(fork=True)
    os.kill(holder.said["child"], signal.SIGUSR1)
    assert holders.ends(holder.said["child"])
    assert holders.ask(holder.said["url"], "SELECT 1") == 1


def test_the_terminal_of_a_holder_does_not_reach_the_server(holders: Holders) -> None:
    """Ctrl-C goes to the terminal's session: the supervisor has its own. Seen to fail without `start_new_session`."""
    holder = holders.start()
    assert holder.said["started"]
    sessions = {os.getsid(pid) for pid in (holders.postmaster(), holders.supervisor())}
    assert os.getsid(holder.process.pid) not in sessions
