"""`groat serve --workers`: one service in several processes, of which any may die."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from groat_server.embedded.waiting import wait_for
from tests.auditor import audit
from tests.conftest import fresh_ledger
from tests.http.api import Api
from tests.operations.ledgers import ask
from tests.services import PATIENCE_SECONDS, on_ledger, start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address
    from groat_server.embedded import Server
    from tests.services import Service

WORKERS = 2


@pytest.fixture
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend a ledger."""
    with fresh_ledger(server, template) as lent:
        yield lent


@pytest.fixture
def service(address: Address, tmp_path: Path) -> Iterator[Service]:
    """Run a service of two workers, all of which are there."""
    with ExitStack() as ends:
        service = start(["serve", "--workers", str(WORKERS)], on_ledger(address), tmp_path / "log")
        ends.callback(service.stop)
        service.wait_until_ready()
        assert wait_for(partial(has_started, service, WORKERS), seconds=PATIENCE_SECONDS)
        yield service


def workers_of(service: Service) -> set[int]:
    """Return the processes of the workers, which are the service's children that run its code."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


def started(service: Service) -> int:
    """Return how many workers have begun to serve so far."""
    return service.log.read_text().count("Application startup complete")


def has_started(service: Service, number: int) -> bool:
    return started(service) == number


def retry(api: Api, user: str, keys: list[str]) -> dict[str, str]:
    """Send charges again, all of them; returns the outcome of each."""
    outcomes: dict[str, str] = {}
    for begin in range(0, len(keys), 1000):
        part = keys[begin : begin + 1000]
        use = {"user": user, "action_type": "unit", "quantity": 1}
        results = api.post("/api/v1/usage/batch", {"events": [{**use, "idempotency_key": key} for key in part]}).body
        outcomes.update(zip(part, (result["outcome"] for result in results["results"]), strict=True))
    return outcomes


class Callers:
    """Callers who charge a user one credit at a time, each under a key of its own, until told to stop."""

    def __init__(self, api: Api, user: str) -> None:
        self.acknowledged: set[str] = set()
        self.tried: set[str] = set()
        self._api = api
        self._user = user
        self._numbers = count()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._calls = [self._pool.submit(self._call) for _ in range(8)]

    def wait_for_more(self) -> None:
        """Wait until much more has been charged."""
        already = len(self.acknowledged)
        assert wait_for(lambda: len(self.acknowledged) > already + 100, seconds=PATIENCE_SECONDS)

    def stop(self) -> None:
        """Let them end."""
        self._stop.set()
        for call in self._calls:
            call.result()
        self._pool.shutdown()

    def _call(self) -> None:
        headers = {"Authorization": f"Bearer {self._api.token}"}
        while not self._stop.is_set():
            with (
                suppress(httpx2.TransportError),
                httpx2.Client(base_url=self._api.url, headers=headers, timeout=30) as client,
            ):
                while not self._stop.is_set():
                    self._charge(client, f"load-{next(self._numbers)}")

    def _charge(self, client: httpx2.Client, key: str) -> None:
        use = {"user": self._user, "action_type": "unit", "quantity": 1, "idempotency_key": key}
        self.tried.add(key)
        if client.post("/api/v1/usage", json=use).status_code == 201:
            self.acknowledged.add(key)


def booked(address: Address) -> set[str]:
    return {key for (key,) in ask(address, "SELECT idempotency_key FROM credit_usage_events")}


def test_a_worker_that_is_killed_under_load_is_replaced_and_nothing_acknowledged_is_lost(
    service: Service, address: Address
) -> None:
    with Api.as_admin(service.url, address) as api:
        user = api.new_user(monthly_allowance=10**6)
        callers = Callers(api, user)
        try:
            for kills in (1, 2):
                callers.wait_for_more()
                before = workers_of(service)
                os.kill(min(before), signal.SIGKILL)
                assert wait_for(partial(has_started, service, WORKERS + kills), seconds=PATIENCE_SECONDS)
                assert len(workers_of(service) - before) == 1
                callers.wait_for_more()
        finally:
            callers.stop()
        assert len(workers_of(service)) == WORKERS
        events = booked(address)
        assert callers.acknowledged <= events <= callers.tried
        retried = retry(api, user, sorted(callers.tried))
        assert retried == {key: "replayed" if key in events else "recorded" for key in callers.tried}
        assert api.balance(user) == Decimal(10**6 - len(callers.tried))
    assert audit(address) == []


def test_the_figures_are_those_of_all_workers_the_dead_ones_too(service: Service, address: Address) -> None:
    def recorded() -> float:
        text = httpx2.get(f"{service.url}/metrics", timeout=30).text
        assert "pid=" not in text
        return float(text.partition('groat_charges_total{outcome="recorded"} ')[2].partition("\n")[0])

    with Api.as_admin(service.url, address) as api:
        user = api.new_user(monthly_allowance=10**6)
    admin = api.token
    charged = 0
    for kills in (1, 2):
        for _ in range(20):
            with Api(service.url, admin, document=api.document) as fresh:  # each may meet another worker
                assert fresh.charge(user).status == 201
            charged += 1
        assert recorded() == charged
        os.kill(min(workers_of(service)), signal.SIGKILL)
        assert wait_for(partial(has_started, service, WORKERS + kills), seconds=PATIENCE_SECONDS)
        assert recorded() == charged


def test_what_is_under_way_when_the_end_is_asked_for_is_finished_and_answered(
    service: Service, address: Address
) -> None:
    workers = workers_of(service)
    with Api.as_admin(service.url, address) as api:
        callers = Callers(api, api.new_user(monthly_allowance=10**6))
        try:
            callers.wait_for_more()
            assert service.stop() == 0
        finally:
            callers.stop()
    assert booked(address) == callers.acknowledged
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def test_workers_end_when_their_parent_has_gone_and_leave_nothing(service: Service) -> None:
    workers = workers_of(service)
    environment = Path(f"/proc/{min(workers)}/environ").read_bytes().split(b"\0")
    (directory,) = (each.partition(b"=")[2] for each in environment if each.startswith(b"PROMETHEUS_MULTIPROC_DIR="))
    assert Path(directory.decode()).is_dir()
    service.process.kill()
    assert wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), seconds=PATIENCE_SECONDS)
    assert not Path(directory.decode()).exists()


def test_workers_that_cannot_start_are_not_tried_for_ever(address: Address, tmp_path: Path) -> None:
    nowhere = {**on_ledger(address), "GROAT_SCHEMA": "nowhere"}
    service = start(["serve", "--workers", "2"], nowhere, tmp_path / "log")
    try:
        assert service.process.wait(PATIENCE_SECONDS) == 1
        assert "groat db migrate" in service.log.read_text()
    finally:
        service.process.kill()
        service.process.wait()


@pytest.mark.parametrize("number", ["0", "-1", "65"])
def test_a_number_of_workers_out_of_bounds_is_refused(address: Address, tmp_path: Path, number: str) -> None:
    service = start(["serve", f"--workers={number}"], on_ledger(address), tmp_path / "log")
    assert service.process.wait(PATIENCE_SECONDS) == 1
    assert "--workers takes 1 to 64" in service.log.read_text()
