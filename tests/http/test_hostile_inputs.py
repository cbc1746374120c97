"""No input causes a 5xx, an echo or a silent acceptance, whatever the route and whatever the field."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from fastapi import Request as Asked
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from groat_server.database import Address
from groat_server.http.application import create_app
from groat_server.http.service import Service
from tests.http.examples import Examples, Request
from tests.http.hostile import Attack, attacks, fault
from tests.http.schemas import PROBLEM_MEMBERS, OpenApi
from tests.services import threaded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.http.api import Api

DOCUMENT = OpenApi(create_app(Service(Address("postgresql://"))).openapi())
PROTECTED = [(method, path) for method, path, _ in DOCUMENT.operations() if path.startswith("/api/")]


@pytest.fixture(scope="module")
def examples(api: Api) -> Examples:
    """Make good requests of the running service."""
    return Examples(api)


def send(client: httpx2.Client, request: Request) -> httpx2.Response:
    return client.request(
        request.method,
        request.target,
        content=request.content,
        headers=[(name.encode(), value.encode("latin-1")) for name, value in request.headers.items()],
    )


def faults(client: httpx2.Client, tried: Sequence[Attack]) -> Iterator[str]:
    for attack in tried:
        try:
            response = send(client, attack.request)
        except httpx2.TransportError as error:
            yield f"{attack.name}: {error}"
            continue
        found = fault(attack, response.status_code, response.headers, response.content)
        if found is not None:
            yield f"{attack.name}: {found}"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_a_request_that_is_not_mutated_is_taken(api: Api, examples: Examples, method: str, path: str) -> None:
    response = send(api.client, examples.request(method, path))
    assert response.is_success, response.text


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_no_input_is_an_error_of_ours_or_silently_accepted(
    api: Api, examples: Examples, method: str, path: str
) -> None:
    tried = list(attacks(examples, method, path))
    assert list(faults(api.client, tried)) == []
    assert len(tried) > 3


CURSOR_ROUTES = [
    "/api/v1/admin/credits/users",
    "/api/v1/admin/users",
    "/api/v1/admin/users/{user}/lots",
    "/api/v1/admin/users/{user}/ledger",
    "/api/v1/admin/users/{user}/holds",
    "/api/v1/me/events",
]
CURSORS: Sequence[Any] = [
    [], {}, None, 7, "abc", ["1"] * 9, [1], [None], [[]], [{}], ["-1"], ["NaN"], ["1e9"], ["7" * 500], [str(2**63)],
    ["consumed", "NaN", "", "1"], ["consumed", "1E+99999", "", "1"], ["consumed", "1", "\0", "1"],
    ["consumed", "1", "\ud800", "1"], ["consumed", 1, "", 1], ["consumed", "1", "", str(2**63)],
    ["nonsense", "1", "", "1"],
    ["2026-01-01T00:00:00Z", str(2**63)], ["2026-01-01", "-1"], ["0001-01-01T00:00:00+23:59", "1"],
    ["9999-12-31T23:59:59-23:59", "1"], ["\ud800", "1"], ["infinity", "1"],
]  # fmt: skip


@pytest.mark.parametrize("path", CURSOR_ROUTES)
def test_a_cursor_that_this_route_has_not_made_is_refused(api: Api, path: str) -> None:
    path = path.format(user=api.new_user())
    made = [json.dumps(cursor).encode() for cursor in CURSORS]
    texts = [
        base64.urlsafe_b64encode(cursor).decode().rstrip("=") for cursor in [*made, b"[" * 740, b"\xff", b"{", b""]
    ]
    for text in [*texts, "ü", "%", "a", "a b", "." * 1000, "a" * 1001]:
        answer = api.get(path, cursor=text)
        assert answer.status == 422, text
        assert answer.body["code"] in {"bad_cursor", "unprocessable"}


def test_a_cursor_of_one_list_is_none_of_another(api: Api) -> None:
    user = api.new_user()
    account = f"/api/v1/admin/users/{user}"
    api.charge(user)
    cursors = {
        ("/api/v1/admin/credits/users", "consumed"): api.get("/api/v1/admin/credits/users", limit=1),
        ("/api/v1/admin/credits/users", "email"): api.get("/api/v1/admin/credits/users", limit=1, sort_by="email"),
        ("/api/v1/admin/users", None): api.get("/api/v1/admin/users", limit=1),
        ("/api/v1/me/events", None): api.with_token(api.new_token(user)).get("/api/v1/me/events", limit=1),
        (f"{account}/lots", None): api.get(f"{account}/lots", limit=1),
        (f"{account}/ledger", None): api.get(f"{account}/ledger", limit=1),
    }
    for (path, sort_by), first in cursors.items():
        query = {} if sort_by is None else {"sort_by": sort_by}
        for origin, page in cursors.items():
            status = api.get(path, cursor=page.body["next_cursor"], **query).status
            assert status == (200 if origin == (path, sort_by) else 422), (path, sort_by, origin)
        assert first.body["next_cursor"]


# --- the control: the same attacks find what a careless service would do ----------------------------------------------

SLOPPY = FastAPI()


@SLOPPY.post("/sloppy")
async def take_anything(request: Asked) -> dict[str, Any]:
    try:
        return {"taken": json.loads(await request.body())["input_tokens"]}
    except ValueError as error:
        raise HTTPException(400) from error


@SLOPPY.get("/sloppy")
async def count(days: int = 30) -> dict[str, Any]:
    return {"until": (datetime.now(UTC) + timedelta(days=days)).isoformat()}


@SLOPPY.exception_handler(RequestValidationError)
async def repeat(_request: Asked, error: RequestValidationError) -> JSONResponse:
    problem = {**dict.fromkeys(PROBLEM_MEMBERS, ""), "errors": str(error.errors())}
    return JSONResponse(problem, 422, media_type="application/problem+json")


DESCRIBED: dict[str, Any] = {
    "paths": {
        "/sloppy": {
            "get": {
                "parameters": [
                    {"name": "days", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 366}}
                ],
                "responses": {"200": {}},
            },
            "post": {
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "type": "object",
                                "properties": {"input_tokens": {"type": "integer", "minimum": 0, "maximum": 10**9}},
                                "required": ["input_tokens"],
                                "additionalProperties": False,
                            }
                        }
                    }
                },
                "responses": {"200": {}},
            },
        }
    }
}


def test_the_attacks_find_what_a_careless_service_would_do(examples: Examples) -> None:
    document = OpenApi(DESCRIBED)
    with threaded(SLOPPY) as url, httpx2.Client(base_url=url) as client:
        found = {
            method: list(faults(client, list(attacks(examples.of(document), method, "/sloppy"))))
            for method in ("GET", "POST")
        }
    text = "\n".join(chain.from_iterable(found.values()))
    for fault_ in ("accepted with 200", "500", "is no problem document", "repeats the input"):
        assert fault_ in text
    named = {line.partition(":")[0] + ":" + line.split(":")[1] for line in text.splitlines()}
    assert {
        "query days: 99999999", "query days: 2^63", "query days: -1",
        "field input_tokens: true", "field input_tokens: -1",
        "field input_tokens: NaN", "field input_tokens: 1.0", "body: an unknown field", "body: UTF-16", "body: a BOM",
    } <= named  # fmt: skip
