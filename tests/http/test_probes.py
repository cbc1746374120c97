"""What machines and readers ask of the service: probes, figures, documentation."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from groat_server.core.usage import Usage
from groat_server.http.application import create_app
from groat_server.http.service import Service
from tests.http.test_hostile_inputs import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from tests.http.api import Api


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Lend a client of an application in this process, which has begun."""
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        yield client


def test_probes_answer(api: Api) -> None:
    assert api.get("/healthz").body == {"status": "alive"}
    assert api.get("/readyz").body == {"status": "ready"}


@pytest.mark.anyio
async def test_the_service_is_not_ready_before_its_sample_data_are_there(ledger_address: Address) -> None:
    proceed, done = asyncio.Event(), asyncio.Event()

    async def prepare(_ledger: Ledger) -> None:
        await proceed.wait()
        done.set()

    service = Service(ledger_address, provider_durability=True, prepare=prepare)
    async with client_of(create_app(service)) as client:
        early = await client.get("/readyz")
        assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (503, "not_ready", "1")
        assert "sample data" in early.json()["detail"]
        assert (await client.get("/healthz")).status_code == 200
        proceed.set()
        await done.wait()
        await asyncio.sleep(0)  # lets the service see it
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.anyio
async def test_the_service_is_not_ready_while_its_batcher_is_dead(ledger_address: Address) -> None:
    """Taken out: the condition in `Service.conditions`."""
    service = Service(ledger_address, provider_durability=True)
    app = create_app(service)
    async with client_of(app) as client:
        ledger: Ledger = app.state.ledger
        usage = Usage(user_id=None, idempotency_key="key", action_type="unit")
        await ledger.batcher.charge([usage])
        (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "groat: the batcher")
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)  # lets the service see it
        assert ("batcher", False) in service.conditions()
        await ledger.batcher.charge([usage])  # is answered once it runs again
        assert (await client.get("/readyz")).status_code == 200


@pytest.mark.anyio
async def test_sample_data_that_cannot_be_made_are_said_to_be_so(
    ledger_address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    async def prepare(_ledger: Ledger) -> None:
        raise LookupError

    service = Service(ledger_address, provider_durability=True, prepare=prepare)
    async with client_of(create_app(service)) as client:
        assert (await client.get("/readyz")).status_code == 503
    assert "LookupError" in caplog.text


def test_metrics_count_charges_and_name_nobody(api: Api) -> None:
    email = api.new_user(full_name="Metric Person")
    api.charge(email, model="metric-model", description="metric-words")
    api.charge("nobody@example.com")
    text = api.client.get("/metrics").text
    assert 'groat_charges_total{outcome="recorded"}' in text
    assert 'groat_charges_total{outcome="unknown_user"}' in text
    assert "groat_http_request_seconds" in text
    assert "groat_batcher_queue_charges 0.0" in text
    for figure in ("batch_charges_count", "commit_seconds_count"):
        (value,) = (line.split()[1] for line in text.splitlines() if line.startswith(f"groat_batcher_{figure} "))
        assert float(value) >= 2
    assert "groat_batcher_refused_charges_total 0.0" in text
    for told in (email, "@", "Metric", "metric-model", "metric-words", "lamp", "unit{"):
        assert told not in text
    labels = {
        line.split("{")[1].split("=")[0] for line in text.splitlines() if "{" in line and not line.startswith("#")
    }
    assert labels <= {"outcome", "status", "le", "check"}


def test_the_documentation_is_there_and_describes_every_operation(api: Api) -> None:
    page = api.client.get("/docs")
    assert page.status_code == 200
    assert "://" not in page.text, "the page asks another host for something"
    document = api.client.get("/openapi.json").json()
    assert document == DOCUMENT.document
    assert all(operation.get("summary") for _, _, operation in DOCUMENT.operations())


def test_every_answer_has_an_id_and_safe_headers(api: Api) -> None:
    for path in ("/healthz", "/nowhere", "/api/v1/me/credits", "/api/v1/me/credits?days=1"):
        answer = api.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) >= 8


@pytest.mark.parametrize(
    ("given", "taken"), [("trace-12345", True), ("x", False), ("a b c d e f g h", False), ("é" * 9, False)]
)
def test_a_callers_request_id_is_taken_where_it_is_harmless(api: Api, given: str, *, taken: bool) -> None:
    answer = api.client.get("/healthz", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    assert (answer.headers["x-request-id"] == given) is taken


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/admin/credits/overview/", 404, "not_found"),
        ("GET", "/" + "x" * 30_000, 404, "not_found"),
        ("GET", "/%00%ff%2F..%2f", 404, "not_found"),
        ("PUT", "/api/v1/usage", 405, "method_not_allowed"),
        ("TRACE", "/api/v1/usage", 405, "method_not_allowed"),
    ],
)
def test_a_path_or_method_that_is_none_is_a_problem_too(
    api: Api, method: str, path: str, status: int, code: str
) -> None:
    assert api.send(method, path).code == (status, code)
