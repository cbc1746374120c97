"""What pages load: kept for ever under an address that changes with the content, and not too much of it."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import httpx2
import pytest

from groat_server.http.dashboard.static import asset_url, assets

if TYPE_CHECKING:
    from tests.services import Service

WEIGHT_MAX = 350 * 1024
"""Of a page with all that it loads, compressed."""


@pytest.mark.parametrize("name", sorted(assets()))
def test_a_file_is_kept_for_ever(service: Service, name: str) -> None:
    answer = httpx2.get(f"{service.url}{asset_url(name)}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == assets()[name].content


def test_a_file_is_served_plain_to_who_does_not_unpack(service: Service) -> None:
    answer = httpx2.get(f"{service.url}{asset_url('app.css')}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in answer.headers
    assert answer.content == assets()["app.css"].content


@pytest.mark.parametrize(
    "path",
    [
        "/ui/static/000000000000/app.js",
        "/ui/static/000000000000/nothing.js",
        "/ui/static/000000000000/..%2f__init__.py",
        "/ui/static/x/vendor.lock",
    ],
)
def test_nothing_else_is_served(service: Service, path: str) -> None:
    assert httpx2.get(f"{service.url}{path}").status_code == 404


def test_nothing_that_pages_load_names_another_place() -> None:
    """Licences' and namespaces' addresses stand in texts; no style imports and no script fetches any."""
    for name, asset in assets().items():
        text = asset.content.decode()
        assert "@import" not in text, name
        assert "@font-face" not in text, name
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", text), name
        assert not re.search(r"\b(fetch|importScripts|import)\(\s*['\"]https?:", text), name


def test_all_that_a_page_loads_weighs_little() -> None:
    assert sum(len(gzip.compress(asset.content)) for asset in assets().values()) < WEIGHT_MAX
