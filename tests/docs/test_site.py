"""The site of the documentation: whole, without a link that leads nowhere, and without a request to anybody else."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from scripts.site import ELSEWHERE, BrokenSite, build, external_loads
from tests.docs_blocks import DOCUMENTS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHROMIUM = os.environ.get("GROAT_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
_LOOKED_AT = ["index.html", "tutorial.html", "cookbook.html", "api.html", "operations.html", "decisions/index.html"]


def _copy(place: Path) -> Path:
    """Copy what the site is built from."""
    shutil.copytree(ROOT / "docs", place / "docs")
    for name in (*ELSEWHERE, "zensical.toml", "check_credits.sql", "LICENSE"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site of a copy of the repository."""
    return build(_copy(tmp_path_factory.mktemp("repository")))


def test_every_document_is_a_page(site: Path) -> None:
    for document in DOCUMENTS:
        page = ELSEWHERE.get(document, document.removeprefix("docs/"))
        assert (site / re.sub(r"README\.html$", "index.html", page.removesuffix(".md") + ".html")).exists(), document


def test_a_link_out_of_the_folder_of_documents_leads_to_a_page_of_the_site(site: Path) -> None:
    assert 'href="project/embedded.html"' in (site / "operations.html").read_text()
    assert 'href="files/check_credits.sql.txt"' in (site / "guide.html").read_text()
    assert (site / "files/check_credits.sql.txt").read_text() == (ROOT / "check_credits.sql").read_text()


def test_the_search_finds_words_of_the_pages(site: Path) -> None:
    index = json.loads((site / "search.json").read_text())
    assert "idempotency" in json.dumps(index).lower()
    assert any("cookbook" in str(entry.get("location")) for entry in index["items"])


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("docs/guide.md", "[nowhere](no-such-page.md)"),
        ("docs/guide.md", "[no heading](http.md#no-such-heading)"),
        ("docs/guide.md", "[no file](../no-such-file.sql)"),
        ("docs/lost.md", "# A page that the navigation does not have"),
        ("docs/guide.md", '<img src="https://example.com/picture.png" alt="of somebody else">'),
        ("docs/guide.md", "![of somebody else](https://example.com/picture.png)"),
        ("docs/guide.md", "![no picture](assets/no-such-picture.png)"),
    ],
)
def test_a_site_that_is_not_whole_is_not_built(tmp_path: Path, page: str, text: str) -> None:
    root = _copy(tmp_path / "repository")
    with (root / page).open("a") as file:
        file.write(f"\n{text}\n")
    with pytest.raises(BrokenSite):
        build(root)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", '<script src="//example.com/a.js"></script>'),
        ("page.html", '<link rel="stylesheet" href="https://example.com/a.css">'),
        ("page.html", '<img srcset="small.png 1x, https://example.com/large.png 2x">'),
        ("page.html", '<div style="background: url(https://example.com/a.png)"></div>'),
        ("page.html", '<form action="https://example.com/"></form>'),
        ("style.css", '@import "https://example.com/a.css";'),
        ("style.css", "@font-face { src: url('//example.com/a.woff2') }"),
        ("picture.svg", '<svg xmlns="http://www.w3.org/2000/svg"><image href="https://example.com/a.png"/></svg>'),
    ],
)
def test_whatever_would_be_loaded_from_elsewhere_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert len(list(external_loads(tmp_path))) == 1


def test_links_to_follow_are_no_loads(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text('<a href="https://example.com/">elsewhere</a> <img src="here.png">')
    assert list(external_loads(tmp_path)) == []


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """Serve the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.skipif(_CHROMIUM is None, reason="there is no Chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_asks_nobody_else_and_complains_of_nothing(address: str, scheme: str, width: int) -> None:
    """Nor does any page scroll sideways, on a desk or on a phone."""
    with ThreadPoolExecutor(1) as thread:  # Playwright keeps an event loop on its thread
        requests, complaints, wide = thread.submit(_look, address, scheme, width).result()
    assert [url for url in requests if not url.startswith(address)] == []
    assert complaints == []
    assert wide == []


def _look(address: str, scheme: str, width: int) -> tuple[list[str], list[str], list[str]]:
    """Look at pages in a browser; return its requests, its complaints, and the pages that are wider than its window."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - where there is no browser it is not needed

    requests: list[str] = []
    complaints: list[str] = []
    wide: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_OPTIONS)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type] # light or dark
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        for name in _LOOKED_AT:
            page.goto(f"{address}{name}")
            page.wait_for_load_state("networkidle")
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                wide.append(name)
        browser.close()
    assert len(requests) > len(_LOOKED_AT)
    return requests, complaints, wide
