"""The live page, in a browser: what it shows, pausing, filters, and a connection that is lost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote
from uuid import uuid4

from playwright.sync_api import expect

from groat_server.core.usage import Usage
from groat_server.operations.feed import Feed
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.browser.pages import HOSTILE, cells, hostile_user, is_harmless, looks_right, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Page

    from groat_server.core.feed_rows import FeedEvent
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

PATIENCE = 20_000


def _user(site: Site) -> int:
    async def make(ledger: Ledger) -> int:
        return (await create_user(ledger, f"live-{uuid4()}@example.com", monthly_allowance=Decimal(10_000))).id

    return site.ask(make)


def _charge(site: Site, user_id: int, *descriptions: str, action: str = "live", cost: str = "0.05") -> list[int]:
    """Charge one event for each description, half a credit each; return their ids."""
    usages = [
        Usage(
            user_id=user_id,
            idempotency_key=str(uuid4()),
            action_type=action,
            api_cost=Decimal(cost),
            description=description,
        )
        for description in descriptions
    ]

    async def run(ledger: Ledger) -> list[int]:
        return [receipt.booking.event_id for receipt in await charge(ledger, usages) if receipt.booking is not None]

    return site.ask(run)


def _connected(visitor: Visitor, path: str) -> Page:
    page = visitor.goto(path)
    expect(page.locator("#live-state")).to_have_text("live", timeout=PATIENCE)
    return page


def _rows(page: Page) -> list[str]:
    found: list[str] = page.locator("#live-rows tr").evaluate_all("rows => rows.map((row) => row.id)")
    return found


def test_the_live_page_looks_right(admin: Visitor) -> None:
    looks_right(admin, "/ui/live", "live")
    expect(admin.page.locator("#live-state")).to_have_text("live", timeout=PATIENCE)


def test_a_page_listens_once(admin: Visitor) -> None:
    _connected(admin, "/ui/live")
    assert [url.partition("?")[0].rpartition("/")[2] for url in admin.requests].count("stream") == 1


def test_the_newest_are_there_and_each_new_one_comes_in_on_top_once(admin: Visitor, site: Site) -> None:
    """Taken out: that a row that is there already goes again; the newest stood there twice."""
    user_id = _user(site)
    old = _charge(site, user_id, "a", "b")
    page = _connected(admin, f"/ui/live?user={user_id}")
    new = _charge(site, user_id, "c", "d", "e")
    expect(page.locator("#live-rows tr")).to_have_count(5, timeout=PATIENCE)
    assert _rows(page) == [f"feed-event-{event}" for event in reversed(old + new)]
    assert cells(page, "#live table")[0][6:] == ["0.5", "9997.5"]


def test_the_rows_are_those_of_the_feed_and_of_the_events_report(admin: Visitor, site: Site) -> None:
    hostile_user(site)

    async def newest(ledger: Ledger) -> Sequence[FeedEvent]:
        return await Feed(ledger).newest(last=50)

    page = _connected(admin, "/ui/live")
    events = site.ask(newest)
    assert _rows(page) == [f"feed-{'act' if event.is_act else 'event'}-{event.id}" for event in reversed(events)]
    shown = {
        row.removeprefix("feed-event-"): cell for row, cell in zip(_rows(page), cells(page, "#live table"), strict=True)
    }
    reported = {str(row["id"]): row for row in told(site, "events", limit=50)}
    both = shown.keys() & reported.keys()
    assert len(both) > 10
    for key in both:
        row, event = shown[key], reported[key]
        assert (row[1], row[2], row[3]) == (event["email"], event["action_type"], event["model"] or "")
        assert [Decimal(cell) for cell in row[4:]] == [
            Decimal(event[column]) for column in ("input_tokens", "output_tokens", "credits", "balance_after")
        ]


def test_the_last_minute_is_added_up(admin: Visitor, site: Site) -> None:
    user_id = _user(site)
    page = _connected(admin, f"/ui/live?user={user_id}")
    _charge(site, user_id, *"abcd")
    expect(page.locator("[data-live=events] data")).to_have_attribute("value", "4", timeout=PATIENCE)
    assert page.locator("[data-live=credits] data").get_attribute("value") == "2"


def test_it_is_paused_by_p_and_goes_on_with_what_came_meanwhile(admin: Visitor, site: Site) -> None:
    user_id = _user(site)
    old = _charge(site, user_id, "before")
    page = _connected(admin, f"/ui/live?user={user_id}")
    expect(page.locator("#live-rows tr")).to_have_count(1, timeout=PATIENCE)
    _charge(site, user_id, "and then")
    expect(page.locator("#live-rows tr")).to_have_count(2, timeout=PATIENCE)
    page.keyboard.press("p")
    _charge(site, user_id, "one", "two")
    expect(page.locator("#live-pause")).to_have_text("Resume (2 more)", timeout=PATIENCE)
    assert len(_rows(page)) == 2
    page.locator("#live-pause").click()
    expect(page.locator("#live-rows tr")).to_have_count(4, timeout=PATIENCE)
    expect(page.locator("#live-pause")).to_have_text("Pause")
    assert _rows(page)[-1] == f"feed-event-{old[0]}"


def test_going_to_prices_does_not_pause(admin: Visitor) -> None:
    """Taken out: that what was done with a key already is done with it."""
    page = _connected(admin, "/ui/live")
    page.evaluate("document.addEventListener('click', (event) => event.preventDefault())")
    page.keyboard.press("g")
    page.keyboard.press("p")
    assert page.locator("#live-pause").get_attribute("aria-pressed") == "false"


def test_at_most_two_hundred_rows_are_kept(admin: Visitor, site: Site) -> None:
    """Taken out: that the oldest go."""
    user_id = _user(site)
    page = _connected(admin, f"/ui/live?user={user_id}")
    events = _charge(site, user_id, *map(str, range(230)))
    expect(page.locator(f"#feed-event-{events[-1]}")).to_have_count(1, timeout=PATIENCE)
    assert _rows(page) == [f"feed-event-{event}" for event in reversed(events[-200:])]
    assert page.locator("[data-live=events] data").get_attribute("value") == "230"


def test_filters_hold_for_what_comes_too(admin: Visitor, site: Site) -> None:
    user_id = _user(site)
    page = admin.goto("/ui/live")
    page.get_by_role("searchbox", name="User").fill(str(user_id))
    page.get_by_role("textbox", name="Action").fill("wanted")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(f"**user={user_id}&action_type=wanted*")
    expect(page.locator("#live-state")).to_have_text("live", timeout=PATIENCE)
    page.get_by_text("Nothing yet").wait_for()
    _charge(site, user_id, "no", action="unwanted")
    (wanted,) = _charge(site, user_id, "yes", action="wanted")
    page.locator(f"#feed-event-{wanted}").wait_for()
    assert _rows(page) == [f"feed-event-{wanted}"]
    assert not page.get_by_text("Nothing yet").is_visible()


def test_acts_of_administration_are_shown_and_do_not_count_as_usage(admin: Visitor, site: Site) -> None:
    user_id = _user(site)
    page = _connected(admin, f"/ui/live?user={user_id}")

    async def give(ledger: Ledger) -> None:
        given = Grant(
            user_id=user_id, kind="promotion", amount=Decimal(7), key=str(uuid4()), reason="live", actor="tests"
        )
        await grant_credits(ledger, given)

    site.ask(give)
    page.locator("#live-rows tr").first.wait_for()
    row = cells(page, "#live table")[0]
    assert (row[2], row[6]) == ("grant", "7")
    assert page.locator("[data-live=events] data").get_attribute("value") == "0"


def test_a_lost_connection_is_said_and_nothing_is_lost(admin: Visitor, site: Site) -> None:
    user_id = _user(site)
    page = _connected(admin, f"/ui/live?user={user_id}")
    _charge(site, user_id, "before")
    expect(page.locator("#live-rows tr")).to_have_count(1, timeout=PATIENCE)
    # The stream is ended as a server that goes away ends it; what follows cannot connect until the network is back.
    admin.context.set_offline(True)
    page.evaluate("document.getElementById('live-rows')._htmx.sse.reader.cancel()")
    expect(page.locator("#live-state")).to_have_text("connection lost, trying again", timeout=PATIENCE)
    _charge(site, user_id, "meanwhile")
    admin.context.set_offline(False)
    expect(page.locator("#live-rows tr")).to_have_count(2, timeout=PATIENCE)
    expect(page.locator("#live-state")).to_have_text("live", timeout=PATIENCE)
    admin.complaints[:] = [
        each for each in admin.complaints if "INTERNET_DISCONNECTED" not in each and "sse:error" not in each
    ]


def test_hostile_texts_are_texts_in_rows_that_come_and_that_are_there(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    page = _connected(admin, f"/ui/live?model={quote(user.model, safe='')}")
    is_harmless(page, user.email, user.model)
    page = _connected(admin, f"/ui/live?user={user.user_id}")
    (event,) = _charge(site, user.user_id, HOSTILE)
    page.locator(f"#feed-event-{event}").wait_for()
    is_harmless(page, user.email)
