"""Takes the pictures of the dashboard that the documents show: `python -m scripts.screenshots`, or `make screenshots`.

A service with the sample data runs in a directory and on a port of its own; Chromium looks at its pages, in both
themes.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright._impl._api_structures import SetCookieParam
    from playwright.sync_api import Browser, Page

ASSETS = Path(__file__).parents[1] / "docs" / "assets"
PAGES = {
    "usage": "/ui/usage",
    "user": "/ui/users/user@example.com",
    "live": "/ui/live",
    "alerts": "/ui/alerts",
    "prices": "/ui/prices",
    "checks": "/ui/checks",
}
WIDTH, HEIGHT = 1240, 960
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory(prefix="groat-pictures-") as directory, closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        variables = os.environ | {"GROAT_DATA_DIR": directory, "GROAT_PORT": str(port)}
        try:
            _groat(variables, "demo")
            link = _groat(variables, "login", "admin@example.com").strip()
            take(f"http://localhost:{port}", link)
        finally:
            _groat(variables, "stop")


def take(base: str, link: str) -> None:
    """Sign in by a link, and take every picture."""
    ASSETS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        cookies = _cookies(browser, link)
        for theme in THEMES:
            context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=theme)
            context.add_cookies(cookies)
            page = context.new_page()
            for name, path in PAGES.items():
                page.goto(f"{base}{path}")
                _settle(page)
                page.screenshot(path=ASSETS / f"{name}-{theme}.png")
        browser.close()


def _cookies(browser: Browser, link: str) -> list[SetCookieParam]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    page.get_by_role("heading", name="Usage").wait_for()
    return [{"name": each["name"], "value": each["value"], "url": page.url} for each in context.cookies()]


def _settle(page: Page) -> None:
    """Wait until charts are drawn."""
    page.wait_for_load_state("load")
    for figure in page.locator("[data-chart]").all():
        figure.and_(page.locator("[data-drawn]")).wait_for()


def _groat(variables: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "groat_server", *arguments]
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
