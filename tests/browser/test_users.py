"""The page of all users, in a browser."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from groat_server.operations.users import create_user
from tests.browser.pages import FORMULA, HOSTILE, api, cells, hostile_user, is_harmless, looks_right, told

if TYPE_CHECKING:
    from groat_server.core.rows import UserRow
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

ORDERS = {"email": "User", "balance": "Balance", "total_consumed": "Used in all", "next_reset_at": "Next reset"}


def new_user(site: Site, email: str | None = None, **fields: Any) -> UserRow:
    """Create a user of the test's own."""

    async def make(ledger: Ledger) -> UserRow:
        return await create_user(ledger, email or f"{uuid4()}@people.example", **fields)

    return site.ask(make)


@pytest.mark.parametrize(("path", "name"), [("", "users"), ("?show=everybody", "users-all"), ("/new", "users-new")])
def test_how_it_looks(admin: Visitor, path: str, name: str) -> None:
    looks_right(admin, f"/ui/users{path}", name)


@pytest.mark.parametrize("sort_by", ["consumed", *ORDERS])
def test_every_figure_is_the_apis_and_the_published_sqls(admin: Visitor, site: Site, sort_by: str) -> None:
    page = admin.goto(f"/ui/users?sort_by={sort_by}")
    rows = told(site, "users", sort_by=sort_by, limit=50)
    answer = api(site).get("/api/v1/admin/credits/users", sort_by=sort_by, limit=50)
    names = ("current_balance", "available", "current_month_consumed", "monthly_allowance", "total_consumed")
    shown = cells(page, "#users")
    assert [[Decimal(cell) for cell in row[1:6]] for row in shown] == [[row[name] for name in names] for row in rows]
    assert [row[0].split()[0] for row in shown] == [row["email"] for row in answer["users"]]
    assert page.locator("#total data").get_attribute("value") == str(answer["total"])


def test_a_column_sorts_and_says_so(admin: Visitor) -> None:
    page = admin.goto("/ui/users?tz=Europe/Berlin")
    assert page.locator("th[aria-sort]").inner_text() == "Used this period"
    for sort_by, title in ORDERS.items():
        page.locator("#users thead").get_by_role("link", name=title, exact=True).click()
        page.wait_for_url(f"**sort_by={sort_by}*")
        assert "tz=Europe" in page.url
        assert page.locator("th[aria-sort]").inner_text() == title
        is_up = sort_by in {"email", "next_reset_at"}
        assert page.locator("th[aria-sort]").get_attribute("aria-sort") == ("ascending" if is_up else "descending")


def test_a_search_finds_as_one_types_by_address_and_by_name(admin: Visitor) -> None:
    page = admin.goto("/ui/users")
    page.keyboard.press("/")
    page.keyboard.type("ROSSI")
    page.locator("#total data[value='1']").wait_for()
    assert cells(page, "#users")[0][0].split()[0] == "elena.rossi@example.org"
    assert "search=ROSSI" in page.url
    page.get_by_label("Search").fill("user@exa")
    page.get_by_role("link", name="user@example.com").wait_for()
    page.get_by_role("link", name="user@example.com").click()
    page.get_by_role("heading", name="user@example.com").wait_for()


def test_who_is_in_demo_mode_is_found_too(admin: Visitor, site: Site) -> None:
    user = new_user(site, demo_mode=True, full_name="Only Looking")
    page = admin.goto("/ui/users?search=only+looking")
    assert [row[:2] for row in cells(page, "#users")] == [[f"{user.email} demo mode\nOnly Looking", "–"]]  # noqa: RUF001 - the dash of nothing
    page = admin.goto("/ui/users?show=everybody&search=only+looking")
    page.get_by_role("link", name=user.email).click()
    page.get_by_text("nothing that is used is stored or charged").wait_for()
    assert page.url.endswith(f"/ui/users/{user.id}")


def test_nobody_is_told(admin: Visitor) -> None:
    page = admin.goto("/ui/users?search=nobody-of-this-name")
    page.get_by_role("heading", name="Nobody", exact=True).wait_for()
    admin.picture("users-nobody")


def test_pages_follow_on_each_other_and_have_everybody_once(admin: Visitor, site: Site) -> None:
    mark = uuid4().hex

    async def make(ledger: Ledger) -> None:
        for number in range(53):
            await create_user(ledger, f"{number}@{mark}.example")

    site.ask(make)
    for show in ("accounts", "everybody"):
        page = admin.goto(f"/ui/users?search={mark}&sort_by=email&show={show}")
        found = [row[0].split()[0] for row in cells(page, "#users")]
        page.get_by_role("link", name="Next", exact=True).click()
        page.wait_for_url("**cursor=*")
        found += [row[0].split()[0] for row in cells(page, "#users")]
        assert sorted(found) == sorted(f"{number}@{mark}.example" for number in range(53))
        assert page.get_by_role("link", name="Next", exact=True).count() == 0
        page.get_by_role("link", name="To the first").click()
        page.wait_for_url(lambda url: "cursor" not in url)


def test_a_cursor_that_is_none_is_refused(admin: Visitor) -> None:
    admin.expected_statuses = {422}
    page = admin.goto("/ui/users?sort_by=email&cursor=W10")
    page.get_by_text("This cursor is not one of ours.").wait_for()


def test_a_file_has_the_users_that_are_looked_for(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/users?search=rossi")
    link = page.locator("#results .exports a").first.get_attribute("href")
    with page.expect_download() as download:
        page.locator("#results .exports a").first.click()
    lines = download.value.path().read_text().splitlines()
    assert lines[0].startswith("user_id,email")
    assert len(lines) == 1 + len(told(site, "users", search="rossi", limit=50))
    assert link is not None
    assert "search=rossi" in link


def test_hostile_texts_are_texts(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    new_user(site, full_name=FORMULA)
    page = admin.goto("/ui/users?search=script&show=everybody")
    is_harmless(page, user.email, user.full_name)
    page = admin.goto(f"/ui/users?search={HOSTILE.replace('&', '%26').replace('#', '%23')}")
    is_harmless(page, user.full_name)
    assert page.get_by_label("Search").input_value() == HOSTILE


def test_a_user_is_created(admin: Visitor, site: Site) -> None:
    email = f"{uuid4()}@people.example"
    admin.expected_statuses = {409, 422}
    page = admin.goto("/ui/users")
    page.get_by_role("link", name="New user").click()
    page.get_by_label("E-mail address").fill(email.upper())
    page.get_by_label("Allowance").fill("12.5.")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("must be a number or a decimal string").wait_for()
    assert page.get_by_label("E-mail address").input_value() == email.upper()
    page.get_by_label("Allowance").fill("12.5")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_role("button", name="Create").click()
    page.get_by_text(f"{email} was created.").wait_for()
    made = api(site).get(f"/api/v1/admin/users/{email}")
    assert page.url.endswith(f"/ui/users/{made['user']['id']}")
    assert made["balance"]["monthly_allowance"] == Decimal("12.5")
    assert made["user"]["time_zone"] == "Europe/Berlin"
    page = admin.goto("/ui/users/new")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_role("button", name="Create").click()
    page.get_by_text("Another user has this e-mail address.").wait_for()
