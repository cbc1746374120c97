"""The list of events, in a browser."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.browser.pages import looks_right
from tests.operations.ledgers import use

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

WAYS = ["", "days=7", "days=30&model=gpt-4o&tz=Europe/Berlin", "user=user@example.com", "action_type=agent_run&days=90"]
HOSTILE = "<script>alert('x')</script>\"'&"


def test_how_it_looks(admin: Visitor) -> None:
    looks_right(admin, "/ui/events?days=30", "events")


@pytest.mark.parametrize("way", WAYS)
def test_every_figure_is_the_apis_and_the_published_sqls(admin: Visitor, site: Site, way: str) -> None:
    page = admin.goto(f"/ui/events?{way}")
    link = page.locator("#events .exports a").first.get_attribute("href") or ""
    query = re.sub(r"limit=\d+&?", "", link.partition("?")[2])
    answer = site.api().get(f"/api/v1/admin/reports/events?{query}").text
    rows = json.loads(answer, parse_float=Decimal)["rows"]
    figures = page.locator("#events tbody data").evaluate_all("all => all.map(each => each.value)")
    names = ("input_tokens", "output_tokens", "api_cost", "credits", "balance_after")
    assert figures == [str(row[name]) for row in rows for name in names if row[name] is not None]
    script = site.api().get(f"/api/v1/admin/reports/events?{query}&explain=sql").text
    assert [int(row[0]) for row in site.psql(script)] == [row["id"] for row in rows]


def test_the_sql_of_a_page_is_that_pages(admin: Visitor, site: Site) -> None:
    """Also of the second, and of a list that ends at an instant."""
    page = admin.goto("/ui/events?to=2099-01-01T00:00:00Z&model=gpt-4o")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**cursor=*")
    links = page.locator("#events tbody th a").evaluate_all("all => all.map(each => each.getAttribute('href'))")
    page.locator("#events .sql").click()
    script = page.locator("#panel-body pre").inner_text()
    assert [row[0] for row in site.psql(script)] == [link.rpartition("/")[2] for link in links]


def test_pages_follow_on_each_other(admin: Visitor) -> None:
    page = admin.goto("/ui/events?days=30")
    seen: list[str] = []
    for _ in range(3):
        links = page.locator("#events tbody th a").evaluate_all("all => all.map(each => each.getAttribute('href'))")
        assert len(links) == 50
        assert not set(seen) & set(links)
        seen += links
        page.get_by_role("link", name="Next").click()
        page.wait_for_load_state("load")
    page.get_by_role("link", name="To the first").click()
    page.wait_for_url(lambda url: "cursor" not in url)


def test_filters_are_typed_and_stand_in_the_address(admin: Visitor) -> None:
    page = admin.goto("/ui/events")
    page.get_by_label("Model").fill("gpt-4o")
    page.get_by_label("Model").press("Enter")
    page.wait_for_url("**model=gpt-4o*")
    assert set(page.locator("#events tbody td:nth-child(4)").all_inner_texts()) == {"gpt-4o"}
    page.get_by_label("User").fill("nobody@example.com")
    admin.expected_statuses = {404}
    page.get_by_role("button", name="Show").click()
    assert "nobody is known" in page.get_by_role("alert").inner_text().lower()


def test_what_people_wrote_is_text(admin: Visitor, site: Site) -> None:
    async def write(ledger: Ledger) -> None:
        user = await create_user(ledger, "o'brien+<b>@example.com", full_name=HOSTILE)
        await charge(ledger, [use(user.id, "hostile", 1, description=HOSTILE)])

    site.ask(write)
    page = admin.goto("/ui/events?user=o%27brien%2B%3Cb%3E@example.com")
    assert HOSTILE in page.locator("#events tbody").inner_text()
    assert "o'brien+<b>@example.com" in page.locator("#events tbody").inner_text()
