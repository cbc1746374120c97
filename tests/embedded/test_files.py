"""What lies on the disk and what the server is set to."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from groat_server.embedded import hold, leftovers
from groat_server.embedded.place import LOG_BYTES_MAX, Place

if TYPE_CHECKING:
    from tests.embedded.conftest import Holders

# Nothing that would lose a charge in a power cut is traded for speed unless the caller says so.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "data_checksums": "on",
    "server_encoding": "UTF8",
    "TimeZone": "UTC",
    "listen_addresses": "127.0.0.1",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "jit": "off",
}


def test_a_first_start_gives_a_safe_server_and_touches_no_mode_above_it(cold: Holders, tmp_path: Path) -> None:
    """Durability by default, and no `chmod` of a home to let PostgreSQL in: as root, too, with a 0700 ancestor."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    above = [path for path in home.parents if path.exists()] + [home]
    modes = [stat.S_IMODE(path.stat().st_mode) for path in above]
    with hold(home / "state" / "groat") as server:
        found = {name: cold.ask(server.socket_url, f"SHOW {name}") for name in SETTINGS}
        assert found == SETTINGS
        assert cold.ask(server.url, "SELECT current_user || current_database()") == "groatgroat"
        assert cold.ask(server.url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'groat'")
    assert [stat.S_IMODE(path.stat().st_mode) for path in above] == modes


def test_only_the_owner_reads_what_groat_wrote(holders: Holders) -> None:
    """The password is in plain text. Seen to fail with files made by `Path.write_text`."""
    with hold(holders.place.directory):
        files = [path for path in holders.place.directory.iterdir() if path.is_file()]
        assert holders.place.password in files
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        for private in (holders.place.cluster, holders.place.sockets):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_wrong_password_is_refused_over_tcp_and_over_the_socket(holders: Holders) -> None:
    """The access file. Seen to fail with what `initdb --auth=trust` writes."""
    with hold(holders.place.directory) as server:
        for url in (server.url, server.socket_url):
            assert holders.ask(url, "SELECT 1") == 1
            password = holders.place.password.read_text()
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                holders.ask(url.replace(password, "guess"), "SELECT 1")


def test_the_password_is_not_shown_with_the_server(holders: Holders) -> None:
    """A logged `Server` must not carry it."""
    with hold(holders.place.directory) as server:
        assert holders.place.password.read_text() not in repr(server)


def test_a_lost_password_is_replaced(holders: Holders) -> None:
    """Nobody else knows it, so a start sets another."""
    holders.place.password.unlink()
    with hold(holders.place.directory) as server:
        assert holders.ask(server.url, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["x" * 120, "a,b"])
def test_a_path_that_no_socket_can_have_is_no_obstacle(own: Holders, name: str) -> None:
    """A socket's name has 107 bytes and clients split it at commas. Seen to fail without the short directory."""
    own.place = Place(own.place.directory.rename(own.place.directory.with_name(name)))
    with hold(own.place.directory) as server:
        assert own.ask(server.socket_url, "SELECT 1") == 1
        assert own.ask(server.url, "SELECT 1") == 1
        sockets = Path(own.ask(server.url, "SHOW unix_socket_directories"))
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()


def test_a_directory_with_a_space_works(own: Holders) -> None:
    """The usual place on macOS has one."""
    own.place = Place(own.place.directory.rename(own.place.directory.with_name("Application Süpport")))
    with hold(own.place.directory) as server:
        assert own.ask(server.socket_url, "SELECT 1") == 1
        assert leftovers.runs_in_by_ps(own.place.cluster, own.postmaster())


def test_the_port_stays_the_same_until_somebody_else_has_it(holders: Holders) -> None:
    """What people put into their database client goes on working; a taken port is no reason not to start."""
    with hold(holders.place.directory) as server:
        first = server.url
    with hold(holders.place.directory) as server:
        assert server.url == first
    with (
        socket.create_server(("127.0.0.1", int(holders.place.port.read_text()))),
        hold(holders.place.directory) as server,
    ):
        second = server.url
        assert second != first
        assert holders.ask(second, "SELECT 1") == 1
    with hold(holders.place.directory) as server:
        assert server.url == second


def test_a_long_log_is_put_aside(own: Holders) -> None:
    """The log grows to a bound, not for ever. Seen to fail without the look at its size."""
    with own.place.log.open("a") as log:
        log.truncate(LOG_BYTES_MAX + 1)
    with hold(own.place.directory):
        pass
    assert own.place.log.stat().st_size < LOG_BYTES_MAX
    assert own.place.log.with_name("server.log.1").stat().st_size > LOG_BYTES_MAX


def test_options_reach_the_server_but_not_its_address(holders: Holders) -> None:
    """Clients are told where it listens, so nobody else may say so."""
    with hold(holders.place.directory, options={"work_mem": "7MB", "listen_addresses": "*"}) as server:
        assert holders.ask(server.url, "SHOW work_mem") == "7MB"
        assert holders.ask(server.url, "SHOW listen_addresses") == "127.0.0.1"
