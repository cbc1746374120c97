"""No input causes a 5xx, an echo or a silent acceptance, whatever the route and whatever the field."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fastapi import FastAPI

from groat_server.database import Address
from groat_server.http.application import create_app
from groat_server.http.service import Service
from tests.http.examples import Examples, Request
from tests.http.hostile import Attack, attacks, fault
from tests.http.schemas import OpenApi

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
    headers = {"Content-Type": "application/json"} if request.body is not None and not request.headers else {}
    return client.request(
        request.method,
        request.target,
        content=request.content,
        headers={name: value.encode("latin-1") for name, value in {**headers, **request.headers}.items()},
    )


def faults(client: httpx2.Client, tried: Sequence[Attack]) -> Iterator[str]:
    for attack in tried:
        response = send(client, attack.request)
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
