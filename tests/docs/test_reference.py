"""The reference pages are what the code says today, and their examples are requests that the routes would take."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.cli import app as cli
from groat_server.database import Address
from groat_server.http.application import create_app
from groat_server.http.service import Service
from scripts.openapi_reference import example_of
from scripts.reference import PAGES
from tests.docs_blocks import text_of
from tests.http.test_access import ANYBODY, POLICIES, PUBLIC, USERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DOCUMENT = create_app(Service(Address("postgresql://nowhere"))).openapi()
_ROUTE = re.compile(r"^### `([A-Z]+) (\S+)`\n\n.*?\n\nFor (.+)\.$", re.MULTILINE)


@pytest.mark.parametrize(("page", "render"), PAGES.items(), ids=PAGES)
def test_a_reference_page_is_current(page: str, render: Callable[[], str]) -> None:
    """`make reference` writes it anew."""
    assert text_of(page) == render()


def test_each_route_says_who_may_call_it_as_the_tests_of_access_have_it() -> None:
    who = {USERS: "a user's token", ANYBODY: "any valid token", PUBLIC: "anybody"}
    assert {(method, path): said for method, path, said in _ROUTE.findall(text_of("docs/api.md"))} == {
        route: who.get(policy, f"a token with `{policy}`") for route, policy in POLICIES.items()
    }


def test_every_command_has_its_section() -> None:
    sections = set(re.findall(r"^##+ groat (.+)$", text_of("docs/cli.md"), re.MULTILINE))
    assert {name for name in cli if not name.startswith("-")} <= sections


def _bodies() -> Iterator[Any]:
    for path, methods in _DOCUMENT["paths"].items():
        for method, operation in methods.items():
            if "requestBody" in operation:
                name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                yield pytest.param(path, name, id=f"{method.upper()} {path}")


@pytest.mark.parametrize(("path", "name"), list(_bodies()))
def test_an_example_is_a_body_that_its_route_takes(path: str, name: str) -> None:
    """The very model that reads the request reads it."""
    example = example_of(name, _DOCUMENT["components"]["schemas"])
    assert example is not None, "a body without an example: give its fields one in scripts/openapi_reference.py"
    assert json.dumps(example, indent=2) in text_of("docs/api.md"), path
    _model(name).model_validate_json(json.dumps(example))


def _model(name: str) -> Any:
    from groat_server.http import admin_ledger, admin_tokens, admin_users, holds, usage  # noqa: PLC0415

    return next(
        getattr(room, name) for room in (usage, holds, admin_ledger, admin_tokens, admin_users) if hasattr(room, name)
    )
