"""The first page, in a browser: its looks, its figures (those of the API and of the published SQL), its ways down."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.pages import looks_right

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Site, Visitor

WAYS = [
    "/ui/usage",
    "/ui/usage?days=7&group=model&metric=api_cost_dollars",
    "/ui/usage?days=1&group=user&metric=events&tz=Europe/Berlin",
    "/ui/usage?days=90&group=user&action_type=ai_chat_message",
    "/ui/usage?days=30&tz=Asia/Kolkata&model=claude-3-5-sonnet",
    "/ui/usage?days=365&user=user@example.com",
]


def test_how_it_looks(admin: Visitor) -> None:
    looks_right(admin, "/ui/usage", "usage")
    asked = [urlsplit(request).path for request in admin.requests if "/ui/static/" not in request]
    assert asked == ["/ui/usage", "/ui/usage/later"]


def figures(page: Page, selector: str) -> list[str]:
    """Return the exact values of all figures below an element, in order."""
    values: list[str] = page.locator(f"{selector} data").evaluate_all("all => all.map(each => each.value)")
    return values


def asked_of(page: Page, link: str) -> dict[str, Any]:
    """Return the parameters of the report behind a figure: those of the SQL link beside it."""
    address = page.locator(link).first.get_attribute("href")
    assert address is not None
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def by_api(site: Site, report: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    answer = site.api().get(f"/api/v1/admin/reports/{report}", params=asked)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = json.loads(answer.text, parse_float=Decimal)["rows"]
    return rows


def by_published_sql(site: Site, report: str, asked: dict[str, Any]) -> list[list[str]]:
    """Run the published statement itself, not what is run in its place."""
    script = site.api().get(f"/api/v1/admin/reports/{report}", params={**asked, "explain": "sql"}).text
    return site.psql(script)


@pytest.mark.parametrize("way", WAYS)
def test_every_figure_is_the_apis_and_the_published_sqls(admin: Visitor, site: Site, way: str) -> None:
    page = admin.goto(way)
    asked = asked_of(page, "#usage-active .sql")
    totals = by_api(site, "usage-totals", asked)
    current = totals[0]
    names = ("credits", "api_cost_dollars", "active_users", "events", "refunded_credits")
    assert figures(page, ".tile .figure") == [str(current[name]) for name in names]
    assert [list(map(str, row.values())) for row in totals] == by_published_sql(site, "usage-totals", asked)
    for group in ("user", "action", "model"):
        card = f".card:has(#top-{group})"
        asked = asked_of(page, f"{card} .sql")
        rows = by_api(site, "usage", asked)
        assert figures(page, f"#top-{group} tbody") == [
            str(row[name]) for row in rows for name in ("events", "api_cost_dollars", "credits")
        ]
        assert [row["credits"] for row in rows] == [Decimal(row[4]) for row in by_published_sql(site, "usage", asked)]


@pytest.mark.parametrize("way", WAYS)
def test_the_chart_has_what_the_report_has(admin: Visitor, site: Site, way: str) -> None:
    page = admin.goto(way)
    chart = json.loads(page.locator("#usage-bars").text_content() or "")
    asked = asked_of(page, ".card:has(#usage-bars) .sql")
    metric = page.locator("select[name=metric]").input_value()
    rows = by_api(site, "usage", asked)
    totals: dict[str, float] = {}
    for row in rows:
        name = "Other" if row["is_other"] else row["series"] or "no model"
        totals[name] = totals.get(name, 0) + float(row[metric])
    assert {each["name"]: pytest.approx(sum(each["values"])) for each in chart["series"]} == totals
    assert len(chart["buckets"]) == len(chart["links"]) <= 400
    first = min(datetime.fromisoformat(row["bucket"]) for row in rows)
    assert any(each["values"] for each in chart["series"]), first


def test_a_bar_leads_to_its_hours_and_an_hour_to_its_events(admin: Visitor) -> None:
    page = admin.goto("/ui/usage?group=model")
    page.get_by_text("As a table").click()
    page.locator("#bars tbody a").last.click()
    page.wait_for_url("**/ui/usage?from=*")
    day = page.locator(".tile", has_text="Events").locator(".figure data").get_attribute("value")
    assert "per hour" in page.locator("h2", has_text="Credits per").inner_text()
    page.get_by_text("As a table").click()
    page.locator("#bars tbody a").last.click()
    page.wait_for_url("**/ui/events?from=*")
    assert int(day or 0) >= page.locator("#events tbody tr").count() > 0


def test_a_click_on_a_bar_follows_it(admin: Visitor) -> None:
    page = admin.goto("/ui/usage")
    box = page.locator("#main figure.chart").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**/ui/usage?from=*")


def test_filters_are_in_the_address_and_can_be_taken_out(admin: Visitor) -> None:
    page = admin.goto("/ui/usage")
    page.get_by_label("Time").select_option("7")
    page.wait_for_url("**days=7*")
    page.get_by_label("Group by").select_option("model")
    page.wait_for_url("**group=model*")
    page.locator("#top-model a").first.click()
    page.wait_for_url("**model=*")
    assert "days=7" in page.url
    page.locator(".chips a").first.click()
    page.wait_for_url(lambda url: "model=claude" not in url and "days=7" in url)


def test_the_sql_is_told_beside_the_figure(admin: Visitor) -> None:
    page = admin.goto("/ui/usage")
    page.locator(".tile .sql").first.click()
    page.locator("#panel-body pre").wait_for()
    assert "credit_usage_events" in page.locator("#panel-body pre").inner_text()
    admin.picture("usage-sql")
    assert admin.violations() == []
    page.keyboard.press("Escape")
    assert not page.locator("#panel").is_visible()


def test_a_time_without_usage_says_so(admin: Visitor) -> None:
    page = admin.goto("/ui/usage?from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z")
    assert page.get_by_text("Nothing was used").is_visible()
    assert page.locator(".tile .figure").first.inner_text() == "0.00"
    admin.picture("usage-empty")
    assert admin.violations() == []


def test_an_address_that_makes_no_sense_is_told_so(admin: Visitor) -> None:
    admin.expected_statuses = {422}
    page = admin.goto("/ui/usage?days=0&group=nothing")
    assert "days" in page.get_by_role("alert").inner_text()
    admin.picture("error")
    assert admin.violations() == []


def test_the_keyboard_goes_everywhere(admin: Visitor) -> None:
    page = admin.goto("/ui/usage")
    page.keyboard.press("?")
    assert page.get_by_role("heading", name="Keyboard").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Tab")
    page.locator("h1").click()
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/ui/sessions")


def test_local_time_and_the_theme_stay_chosen(admin: Visitor) -> None:
    page = admin.goto("/ui/usage")
    page.get_by_role("button", name="UTC").click()
    page.wait_for_url("**tz=Europe%2FBerlin*")
    page.get_by_role("button", name="Theme").click()
    assert "dark" in (page.locator("html").get_attribute("class") or "")
    page = admin.goto("/ui/sessions")
    assert "dark" in (page.locator("html").get_attribute("class") or "")
    assert page.get_by_role("button", name="Europe/Berlin").is_visible()
    assert page.url.endswith("/ui/sessions?tz=Europe%2FBerlin")


def test_the_theme_is_the_systems_until_one_is_chosen(admin: Visitor) -> None:
    page = admin.goto("/ui/usage")
    dark = page.locator("html.dark")
    page.emulate_media(color_scheme="dark")
    expect(dark).to_have_count(1)
    page.get_by_role("button", name="Theme").click()
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    expect(dark).to_have_count(0)
