"""`groat up`, `serve`, `demo` and `stop` as they are typed, on the embedded server and beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import httpx2
import pytest

from groat_server.embedded.waiting import wait_for
from tests.services import PATIENCE_SECONDS, Service, environment, free_port, on_ledger, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from groat_server.database import Address
    from tests.cli.conftest import Groat

pytestmark = pytest.mark.timeout(300)

GONE_SECONDS = 4


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory for a test's data and logs."""
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def begin(directory: Path) -> Iterator[Callable[..., Service]]:
    """Lend a starter of services on the embedded server of the test's directory; all of them are ended."""
    with ExitStack() as ends:

        def begin(*command: str, **variables: str) -> Service:
            log = directory / f"{len(list(directory.iterdir()))}.log"
            service = start(list(command), {**environment(GROAT_DATA_DIR=str(directory / "data")), **variables}, log)
            ends.callback(service.stop)
            return service

        yield begin


def postmasters(directory: Path) -> list[int]:
    """Return the pids of the PostgreSQL servers that run below a directory."""
    pids = [int(file.read_text().split()[0]) for file in directory.rglob("postmaster.pid")]
    return [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_up_with_sample_data_is_joined_by_serve_and_both_end_without_a_trace(
    begin: Callable[..., Service], directory: Path
) -> None:
    up = begin("up", "--demo")
    assert wait_for(lambda: up.answers("/healthz"), seconds=PATIENCE_SECONDS), up.log.read_text()
    serve = begin("serve")
    up.wait_until_ready()
    serve.wait_until_ready()
    (postmaster,) = postmasters(directory)
    token = made_token(directory)
    for service in (up, serve):
        answer = httpx2.get(
            f"{service.url}/api/v1/admin/credits/overview", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.json()["total_events"] > 1000
    second = begin("up")
    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert "runs in" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(PATIENCE_SECONDS) in {0, 143, -signal.SIGTERM}
    assert serve.answers("/readyz")
    assert is_alive(postmaster)
    serve.process.send_signal(signal.SIGTERM)
    serve.process.wait(PATIENCE_SECONDS)
    assert wait_for(lambda: not is_alive(postmaster), seconds=GONE_SECONDS)
    assert postmasters(directory) == []
    for log in (up.log, serve.log):
        assert "Traceback" not in log.read_text()
        assert token not in log.read_text()


def made_token(directory: Path) -> str:
    """Make an administrator's token, as the acceptance of a demonstration does."""
    from tests.cli.conftest import Groat  # noqa: PLC0415 - a class among fixtures

    groat = Groat(environment(GROAT_DATA_DIR=str(directory / "data")), directory)
    token: str = groat.json("token", "create", "admin@example.com")["token"]
    return token


def test_demo_starts_charges_and_says_what_to_try_and_stop_ends_it(bare: Groat, directory: Path) -> None:
    port = str(free_port())
    variables = {"GROAT_PORT": port}
    try:
        first = bare("demo", **variables)
        assert first.code == 0, first.err
        assert "charged user@example.com 0.105 credits" in first.out
        assert "service ready" in first.out
        token = re.search(r"TOKEN=(groat_\S+)", first.out)
        assert token is not None
        kept = bare.directory / "data" / "credentials.json"
        assert json.loads(kept.read_text())["token"] == token[1]
        assert kept.stat().st_mode & 0o077 == 0
        again = bare("demo", **variables)
        assert (again.code, token[1] in again.out) == (0, True), directory
    finally:
        ended = bare("stop", **variables)
    assert (ended.code, "stopped" in ended.out) == (0, True)
    assert postmasters(bare.directory) == []
    assert "no service is running" in bare("stop", **variables).out


def test_a_port_in_use_is_said_to_be_before_anything_is_started(bare: Groat) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in ("up", "serve"):
            told = bare(command, GROAT_PORT=port)
            assert told.code == 1
            assert f"port {port}" in told.err
            assert "GROAT_PORT" in told.err
            assert "Traceback" not in told.err
    assert postmasters(bare.directory) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_service_ends_in_good_order_when_it_is_asked_to(
    directory: Path, begin: Callable[..., Service], number: int, code: int
) -> None:
    """Its PostgreSQL is gone as soon as it is itself. Seen to fail (-15) with `_ended_by_sigterm` taken out of `up`."""
    service = begin("up")
    service.wait_until_ready()
    assert postmasters(directory)
    service.process.send_signal(number)
    assert service.process.wait(PATIENCE_SECONDS) == code
    assert postmasters(directory) == []
    assert "Traceback" not in service.log.read_text()


def test_a_service_logs_json_without_colours_where_there_is_no_terminal(
    cli_ledger: Address, begin: Callable[..., Service]
) -> None:
    service = begin("serve", **{**on_ledger(cli_ledger), "NO_COLOR": ""})
    service.wait_until_ready()
    service.stop()
    lines = [line for line in service.log.read_text().splitlines() if line.startswith("{")]
    requests = [json.loads(line) for line in lines if json.loads(line)["event"] == "request"]
    assert requests[-1].keys() >= {"method", "route", "status", "milliseconds", "request_id", "timestamp"}
    assert "\x1b[" not in service.log.read_text()
