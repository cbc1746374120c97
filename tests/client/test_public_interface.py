"""What the package shows to the world, and what it brings into a process."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import groat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

CLIENT = Path(__file__).parents[2] / "client"

EXPORTED = """
APIError AsyncGroat AsyncHold Balance Booking Busy Estimate ExternalId Forbidden Groat GroatError Hold
HoldClosed HoldExhausted IdempotencyConflict InsufficientCredits InvalidRequest NoAnswer OutcomeUnknown Price Receipt
Refusal TokenCounts Unauthorized UnknownUser Usage __version__ tokens_of
"""


def test_the_exported_names_are_these() -> None:
    assert sorted(EXPORTED.split()) == sorted(groat.__all__)
    public = {name for name, value in vars(groat).items() if not (name.startswith("_") or inspect.ismodule(value))}
    assert public == set(groat.__all__) - {"__version__"}


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert groat.__version__ == project["version"]


def test_the_two_clients_are_twins() -> None:
    sync, twin = _methods(groat.Groat), _methods(groat.AsyncGroat)
    assert sync.keys() == {
        "adjust", "balance", "charge", "charge_many", "close", "estimate", "grant", "hold", "refund", "void",
    }  # fmt: skip
    _assert_twins(sync, twin, awaited=sync.keys() - {"hold"})
    constructors = [inspect.signature(client).parameters for client in (groat.Groat, groat.AsyncGroat)]
    assert constructors[0].keys() == constructors[1].keys()


def test_the_two_holds_are_twins() -> None:
    sync, twin = _methods(groat.Hold), _methods(groat.AsyncHold)
    assert sync.keys() == {"capture", "release", "renew", "saw", "stream"}
    _assert_twins(sync, twin, awaited={"capture", "release", "renew"})


def test_a_capture_takes_what_a_charge_takes_but_what_the_hold_has_settled() -> None:
    charge = set(inspect.signature(groat.Groat.charge).parameters)
    capture = set(inspect.signature(groat.Hold.capture).parameters)
    assert charge - capture == {"user", "occurred_at", "enforce", "idempotency_key"}
    assert capture <= charge


def _assert_twins(sync: dict[str, Any], twin: dict[str, Any], *, awaited: AbstractSet[str]) -> None:
    assert sync.keys() == twin.keys()
    for name, method in sync.items():
        parameters = [inspect.signature(each).parameters for each in (method, twin[name])]
        kept = [[(p.name, p.kind, p.default) for p in each.values()] for each in parameters]
        assert kept[0] == kept[1], name
        assert not inspect.iscoroutinefunction(method), name
        assert inspect.iscoroutinefunction(twin[name]) is (name in awaited), name
        assert inspect.getdoc(twin[name]), name


def test_a_usage_takes_what_a_charge_takes() -> None:
    charge = set(inspect.signature(groat.Groat.charge).parameters) - {"self"}
    assert {field.name for field in dataclasses.fields(groat.Usage)} == charge


@pytest.mark.parametrize(
    "kind", [groat.Balance, groat.Booking, groat.Estimate, groat.Price, groat.Receipt, groat.Refusal, groat.Usage]
)
def test_values_are_frozen_and_slotted(kind: type[Any]) -> None:
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)


def test_importing_the_client_loads_no_server_and_no_http_library() -> None:
    program = "import groat, sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "groat" in loaded
    others = {"groat_server", "app", "sqlalchemy", "fastapi", "pydantic", "httpx2", "asyncio", "anyio", "logging"}
    assert others.isdisjoint(loaded)


def test_no_representation_shows_the_key() -> None:
    with groat.Groat("http://u:pw@groat.test", "a-secret") as client:
        shown = repr(client) + repr(vars(client))
    assert "a-secret" not in shown
    assert "pw" not in shown


def test_nobody_listening_is_no_answer() -> None:
    with (
        groat.Groat("http://127.0.0.1:1", "key", retries=0) as meter,
        pytest.raises(groat.NoAnswer, match="after 1 attempt:"),
    ):
        meter.charge(7, action="a")


class _Service(BaseHTTPRequestHandler):
    """Answers as the README's reader would see it; the second charge is refused."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer = 201, b'{"outcome":"recorded","id":1,"credits_charged":0.105,"balance":99.895}'
        if self.path == "/api/v1/estimate":
            status, answer = 200, b'{"credits_charged":0.33,"api_cost":0.033}'
        elif b'"enforce"' in body:
            status, answer = 402, b'{"code":"insufficient_credits","required":8,"available":0.5}'
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        """Keep quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Service) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_readmes_example_runs(
    service: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GROAT_URL", service)
    monkeypatch.setenv("GROAT_API_KEY", "key")
    readme = (CLIENT / "README.md").read_text(encoding="utf-8")
    program = readme.partition("```python\n")[2].partition("```")[0]
    exec(compile(program, "README.md", "exec"), {})  # noqa: S102 (our own example)
    assert capsys.readouterr().out.splitlines() == [
        "at most 0.33 credits",
        "0.105 credits, 99.895 left",
        "takes 8, has 0.5 until None",
    ]


def _methods(client: type[object]) -> dict[str, Any]:
    return {name: method for name, method in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
