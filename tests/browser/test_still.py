"""Nothing moves once it is painted, however slowly a page comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESKTOP, PHONE

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor

PAGES = [
    "/ui/usage",
    "/ui/users",
    "/ui/users/user@example.com?days=90",
    "/ui/events?days=30",
    "/ui/live",
    "/ui/alerts",
    "/ui/alerts/runway",
    "/ui/prices",
    "/ui/checks",
    "/ui/reports",
    "/ui/reports/usage",
    "/ui/tokens",
    "/ui/audit",
]

_SLOW_LINE = {"offline": False, "latency": 0, "downloadThroughput": 30_000, "uploadThroughput": -1}

_NOTE_SHIFTS = """
window.shifts = [];
const note = (entry) => shifts.push([entry.value, entry.sources.map((each) => each.node?.outerHTML.slice(0, 200))]);
new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({type: 'layout-shift', buffered: true});
"""


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_nothing_moves_once_it_is_painted(admin: Visitor, width: int) -> None:
    """A page comes in pieces on a slow line.

    Without the link that has the browser wait for all of it, rows that come later move the columns of those above.
    """
    page = admin.page
    page.add_init_script(_NOTE_SHIFTS)
    admin.turn_to(width, "light")
    admin.goto(PAGES[0])  # what does not change is in the browser's cache from here on
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", _SLOW_LINE)
    moved = {}
    for path in PAGES:
        admin.goto(path)
        if path == "/ui/live":
            expect(page.locator("#live-state")).to_have_text("live")
        moved[path] = page.evaluate("window.shifts")
    assert not any(moved.values()), moved
