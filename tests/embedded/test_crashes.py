"""After any kill the next start works, and no process of anybody else's is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from groat_server.embedded import hold, leftovers
from groat_server.embedded.binaries import find_binaries
from groat_server.embedded.identity import Identity
from groat_server.embedded.programs import Programs
from groat_server.embedded.waiting import wait_for

if TYPE_CHECKING:
    from tests.embedded.conftest import Holders


def test_the_server_does_not_outlive_a_killed_supervisor(holders: Holders) -> None:
    """The signal armed in PostgreSQL before its exec. Seen to fail without `deathwatch.arm`."""
    holder = holders.start()
    assert holder.said["started"]
    postmaster = holders.postmaster()
    os.kill(holders.supervisor(), signal.SIGKILL)
    assert holders.ends(postmaster, within=3)
    with hold(holders.place.directory) as server:
        assert server.started
        assert holders.was_shut_down_cleanly()


def test_a_server_without_supervisor_is_ended_before_the_next_starts(holders: Holders) -> None:
    """`clear_postmaster` ends a server of ours. Seen to fail without it: PostgreSQL refuses to start beside it."""
    user = Identity(os.geteuid(), os.getegid(), namespace=os.geteuid() == 0)
    pid_file = holders.place.cluster / "postmaster.pid"
    settings = ("--listen_addresses=", f"--unix_socket_directories={holders.place.sockets}")
    orphan = Programs(find_binaries(None), user).start(
        "postgres", "-D", str(holders.place.cluster), *settings, stdout=subprocess.DEVNULL
    )
    try:
        assert wait_for(lambda: pid_file.exists() and "ready" in pid_file.read_text(), seconds=10)
        with hold(holders.place.directory) as server:
            assert orphan.wait(timeout=10) == 0
            assert holders.ask(server.url, "SELECT 1") == 1
            assert holders.was_shut_down_cleanly()
    finally:
        orphan.kill()
        orphan.wait()


def test_a_killed_server_takes_its_supervisor_along_and_is_recovered(holders: Holders) -> None:
    """The supervisor's look at its child: else its lock would keep everybody from starting anew."""
    first = holders.start()
    assert first.said["started"]
    supervisor = holders.supervisor()
    os.kill(holders.postmaster(), signal.SIGKILL)
    assert holders.ends(supervisor, within=3)
    with hold(holders.place.directory) as server:
        assert holders.ask(server.url, "SELECT 1") == 1
        assert not holders.was_shut_down_cleanly()


def test_a_recycled_pid_is_neither_believed_nor_signalled(holders: Holders) -> None:
    """Pids are few in a container.

    Seen to fail without the look at what the pid runs (the innocent process is ended), and without the removal of
    either lock file (PostgreSQL refuses to start).
    """
    innocent = holders.innocent()
    holder = holders.start()
    assert holder.said["started"]
    pid_file = holders.place.cluster / "postmaster.pid"
    socket_lock = next(holders.place.sockets.glob("*.lock"))
    stale = [(path, path.read_text().split("\n", 1)[1]) for path in (pid_file, socket_lock)]
    holder.leave()
    for path, rest in stale:
        path.write_text(f"{innocent}\n{rest}")
    with hold(holders.place.directory) as server:
        assert holders.ask(server.socket_url, "SELECT 1") == 1
    assert holders.runs(innocent)


def test_a_pid_file_cut_short_is_no_obstacle(holders: Holders) -> None:
    """PostgreSQL itself refuses an empty one, as a power failure may leave it."""
    (holders.place.cluster / "postmaster.pid").touch()
    with hold(holders.place.directory) as server:
        assert server.started


def test_with_and_without_proc_our_server_is_told_from_others(holders: Holders) -> None:
    """The look by `ps` is what macOS has; here both must agree."""
    innocent = holders.innocent()
    with hold(holders.place.directory):
        server = holders.postmaster()
        for runs_in in (leftovers.runs_in_by_proc, leftovers.runs_in_by_ps):
            assert runs_in(holders.place.cluster, server)
            assert not runs_in(holders.place.directory, server)
            assert not runs_in(holders.place.cluster, innocent)


def test_a_start_killed_in_the_middle_leaves_the_next_one_clean(cold: Holders) -> None:
    """The cluster gets its name when it is complete. Seen to fail with a draft made under that name."""
    first = cold.start()
    assert wait_for(lambda: any(cold.place.directory.glob("initializing-*/PG_VERSION")), seconds=10)
    draft = next(cold.place.directory.glob("initializing-*"))
    os.kill(int(draft.name.partition("-")[2]), signal.SIGKILL)
    assert "ended without a word" in first.said["refusal"]
    with hold(cold.place.directory) as server:
        assert server.started
        assert cold.ask(server.url, "SELECT current_database()") == "groat"
    assert not list(cold.place.directory.glob("initializing-*"))


def test_the_watch_by_a_pipe_ends_the_process_of_a_killed_parent(holders: Holders) -> None:
    """What macOS has instead of death signals; and called off, it does nothing."""
    watched, spared = holders.innocent(), holders.innocent()
    script = f"""
import os
from groat_server.embedded import deathwatch
deathwatch.watch_by_pipe({watched})
os.write(deathwatch.watch_by_pipe({spared}), b".")
os.kill(os.getpid(), {signal.SIGKILL:d})
"""
    subprocess.run([sys.executable, "-c", script], check=False)
    assert holders.ends(watched, within=3)
    assert holders.runs(spared)
