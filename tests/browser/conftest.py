"""A real browser on a real service with sample data; whatever the browser complains of fails the test.

It takes Chromium (Debian's package `chromium`, or what GROAT_TEST_CHROMIUM names); without one these tests are skipped.
Pages are kept as pictures in `.screenshots/`.

Playwright keeps an event loop on this thread while it runs, so nothing here calls `asyncio.run` but by `in_thread`, and
the browser ends with this package's tests.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import sync_playwright

from groat_server.operations.ledger import open_ledger
from groat_server.operations.sample import load_sample
from groat_server.operations.sessions import sign_in_by_token
from groat_server.operations.tokens import create_token
from groat_server.operations.users import find_user
from tests.conftest import fresh_ledger
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

    from groat_server.database import Address
    from groat_server.embedded import Server
    from groat_server.operations.ledger import Ledger

Result = TypeVar("Result")

SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text("utf-8")
ADMIN = "admin@example.com"
DESKTOP, PHONE = 1280, 390
_HEIGHT = 900
_CHROMIUM = os.environ.get("GROAT_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--font-render-hinting=none",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of this folder where there is no browser."""
    if _CHROMIUM is None:
        for item in items:
            if "browser" in item.path.parts:
                item.add_marker(pytest.mark.skip(reason="there is no Chromium here (Debian: apt-get install chromium)"))


def in_thread(make: Callable[[], Awaitable[Result]]) -> Result:
    """Run a coroutine on a thread and loop of its own."""

    async def run() -> Result:
        return await make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(run())).result()


@dataclass
class Site:
    """A service with sample data, and whoever is signed in to it."""

    url: str
    address: Address
    psql_program: Path
    log: Path
    _api: httpx2.Client | None = None
    _sessions: dict[str, str] = field(default_factory=dict)

    def ask(self, action: Callable[[Ledger], Awaitable[Result]]) -> Result:
        """Do something on the ledger itself."""

        async def run() -> Result:
            async with open_ledger(self.address, provider_durability=True) as ledger:
                return await action(ledger)

        return in_thread(run)

    def api(self) -> httpx2.Client:
        """Return a client of the API with an administrator's token."""
        if self._api is None:

            async def token(ledger: Ledger) -> str:
                return (await create_token(ledger, name="api", user_id=await find_user(ledger, ADMIN))).token

            headers = {"Authorization": f"Bearer {self.ask(token)}"}
            self._api = httpx2.Client(base_url=self.url, headers=headers, timeout=60)
        return self._api

    def close(self) -> None:
        """Give the API's connections back."""
        if self._api is not None:
            self._api.close()

    def psql(self, script: str) -> list[list[str]]:
        """Run a script as psql does, and return the rows of its last statement as texts."""
        command = [str(self.psql_program), self.address.url, "--quiet", "--csv", "--tuples-only", "--file=-"]
        done = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
        return list(csv.reader(io.StringIO(done.stdout)))

    def session(self, email: str = ADMIN) -> str:
        """Return a session's secret of this user, who must be an administrator."""
        if email not in self._sessions:

            async def begin(ledger: Ledger) -> str:
                made = await create_token(ledger, name="browser", user_id=await find_user(ledger, email))
                return await sign_in_by_token(ledger, made.token, user_agent="tests")

            self._sessions[email] = self.ask(begin)
        return self._sessions[email]


@pytest.fixture(scope="package")
def site(server: Server, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a service on a ledger with the sample data. Tests that change it act on users of their own."""
    with ExitStack() as ends:
        # The audit at the end asks the database by asyncio.run.
        address = ends.enter_context(fresh_ledger(server, template))

        async def fill() -> None:
            async with open_ledger(address, provider_durability=True) as ledger:
                await load_sample(ledger)

        in_thread(fill)
        (service,) = ends.enter_context(serving(address, tmp_path_factory.mktemp("dashboard")))
        there = Site(service.url, address, server.binaries / "psql", service.log)
        yield there
        there.close()


@pytest.fixture(scope="package")
def browser(site: Site) -> Iterator[Browser]:  # noqa: ARG001 - the site outlives the browser, whose loop would be in the way
    """Run Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=_CHROMIUM, args=_OPTIONS)
        yield chromium
        chromium.close()


class Visitor:
    """Somebody at a browser, of whose pages every complaint is noted."""

    def __init__(self, site: Site, context: BrowserContext) -> None:
        self.site = site
        self.context = context
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.expected_statuses: set[int] = set()
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("requestfailed", lambda request: self._failed(request.url, request.failure))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("response", lambda response: self._answered(response.url, response.status))

    def goto(self, path: str) -> Page:
        """Go to a page of the dashboard, and wait until it is drawn."""
        self.requests.clear()
        self.page.goto(f"{self.site.url}{path}")
        self.page.wait_for_load_state("load")
        self.page.locator(".waiting").first.wait_for(state="detached")
        if self.page.locator("[data-chart]").count():
            self.page.locator("[data-chart][data-drawn]").first.wait_for()
        return self.page

    def turn_to(self, width: int, theme: Literal["light", "dark"]) -> None:
        """Look from now on at a screen so wide, in this theme."""
        self.page.set_viewport_size({"width": width, "height": _HEIGHT})
        self.page.emulate_media(color_scheme=theme)

    def leave(self) -> None:
        """Close the page, and leave nothing of oneself to who comes next but the files that never change."""
        if self.page.url.startswith(self.site.url):
            self.page.evaluate("localStorage.clear()")
        for page in self.context.pages:
            page.close()
        self.context.clear_cookies()
        self.context.clear_permissions()
        self.context.set_offline(False)

    def picture(self, name: str) -> None:
        """Keep the page as a picture."""
        SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong with the page for those who do not see it, or not well."""
        self.page.evaluate(f"() => {{ {AXE} }}")
        found: dict[str, Any] = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {node['target']} {node['failureSummary']}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def _said(self, kind: str, text: str) -> None:
        is_expected = any(f"status of {status}" in text for status in self.expected_statuses)
        if kind in {"error", "warning"} and not is_expected:
            self.complaints.append(f"{kind}: {text}")

    def _failed(self, url: str, failure: str | None) -> None:
        if failure != "net::ERR_ABORTED":  # a page that was left, a download, a stream that was ended
            self.complaints.append(f"failed: {url} {failure}")

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        if urlsplit(url).scheme in {"http", "https"} and not url.startswith(self.site.url):
            self.complaints.append(f"another host: {url}")

    def _answered(self, url: str, status: int) -> None:
        if status >= 400 and status not in self.expected_statuses:
            self.complaints.append(f"answered {status}: {url}")


@pytest.fixture(scope="package")
def left_contexts() -> list[BrowserContext]:
    """Keep the contexts that nobody uses at present: whoever takes one finds scripts and styles in its cache."""
    return []


@pytest.fixture
def visit(site: Site, browser: Browser, left_contexts: list[BrowserContext]) -> Iterator[Callable[..., Visitor]]:
    """Lend a maker of visitors: `visit(width=PHONE, theme="dark", email=None)`; with an e-mail address, signed in.

    What a browser has complained of fails the test at its end.
    """
    visitors: list[Visitor] = []

    def make(*, width: int = DESKTOP, theme: Literal["light", "dark"] = "light", email: str | None = ADMIN) -> Visitor:
        context = (
            left_contexts.pop() if left_contexts else browser.new_context(locale="en-GB", timezone_id="Europe/Berlin")
        )
        if email is not None:
            context.add_cookies([{"name": "groat_session", "value": site.session(email), "url": site.url}])
        visitors.append(Visitor(site, context))
        visitors[-1].turn_to(width, theme)
        return visitors[-1]

    yield make
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for visitor in visitors:
        visitor.leave()
        left_contexts.append(visitor.context)
    assert complaints == []


@pytest.fixture
def admin(visit: Callable[..., Visitor]) -> Visitor:
    """Lend an administrator at a desktop."""
    return visit()
