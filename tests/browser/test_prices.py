"""The pages of prices, in a browser."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from groat_server.operations.audit import list_acts
from groat_server.operations.prices import show_pricing
from tests.browser.pages import HOSTILE, cells, figure, hostile_user, is_harmless, looks_right, told
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from playwright.sync_api import Page

    from groat_server.core.rows import AuditRow
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.prices import BookRow
    from tests.browser.conftest import Site, Visitor


def _rates(page: Page, selector: str) -> list[list[str]]:
    """Return the exact figures of each row's price."""
    script = (
        "(s) => [...document.querySelectorAll(s)].map((cell) => [...cell.querySelectorAll('data')].map((d) => d.value))"
    )
    found: list[list[str]] = page.evaluate(script, f"{selector} tbody .rates")
    return found


def _stated(rates: str) -> list[str]:
    """Return the figures that rates as JSON state, tiers with where they begin."""
    found: list[str] = []
    for rate in json.loads(rates, parse_float=str, parse_int=str).values():
        found += (
            [each for tier in rate for each in tier if each != "0" or tier is rate]
            if isinstance(rate, list)
            else [rate]
        )
    return found


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ui/prices", "prices"),
        ("/ui/prices/model/claude-3-5-sonnet", "prices-one"),
        ("/ui/prices/usage", "prices-usage"),
        ("/ui/prices/set?kind=model&name=claude-3-5-sonnet", "prices-form"),
    ],
)
def test_the_prices_look_right(admin: Visitor, path: str, name: str) -> None:
    looks_right(admin, path, name)


@pytest.mark.parametrize("query", [{}, {"kind": "action"}, {"kind": "model", "search": "sonnet"}, {"search": "OPENAI"}])
def test_the_prices_are_those_of_the_api(admin: Visitor, site: Site, query: dict[str, str]) -> None:
    hostile_user(site)
    page = admin.goto("/ui/prices?" + "&".join(f"{name}={value}" for name, value in query.items()))
    rows = told(site, "prices", limit=50, **query)
    assert len(rows) > 1
    assert [[row[0], *row[2:4]] for row in cells(page, "#prices")] == [
        [row["name"], row["kind"], row["provider"] or ""] for row in rows
    ]
    assert [[Decimal(each) for each in row] for row in _rates(page, "#prices")] == [
        [Decimal(each) for each in _stated(row["rates"])] for row in rows
    ]


def test_the_book_is_what_the_ledger_says(admin: Visitor, site: Site) -> None:
    async def show(ledger: Ledger) -> BookRow:
        async with ledger.database.read() as connection:
            return await show_pricing(connection)

    page = admin.goto("/ui/prices")
    book = site.ask(show)
    for name in ("credits_per_dollar", "multiplier", "version"):
        assert figure(page, f"[data-figure={name}]") == getattr(book, name)


def test_margins_and_models_without_price_are_those_of_the_api(admin: Visitor, site: Site) -> None:
    hostile_user(site)
    page = admin.goto("/ui/prices")
    page.locator("#by-use #margins").wait_for()
    margins, unpriced = told(site, "margin"), told(site, "unpriced-models")
    columns = ("events", "credits", "value_dollars", "api_cost_dollars", "margin_dollars")
    assert [[row[0], *map(Decimal, row[1:6])] for row in cells(page, "#margins")] == [
        [row["model"] or "no model", *(Decimal(row[column]) for column in columns)] for row in margins
    ]
    assert [row[6] for row in cells(page, "#margins")] == [
        "\N{EN DASH}" if row["margin_percent"] is None else f"{Decimal(row['margin_percent']):f}" for row in margins
    ]
    assert [row[0] for row in cells(page, "#unpriced")] == [row["model"] for row in unpriced]
    assert [row[2] for row in cells(page, "#unpriced")] == [str(row["events"]) for row in unpriced]


def test_the_published_sql_finds_the_prices_that_the_page_shows(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/prices?kind=model&search=haiku")
    names = [row[0] for row in cells(page, "#prices")]
    page.get_by_role("link", name="SQL of prices").click()
    script = page.locator("#panel #sql code").inner_text()
    for name, value in (("search", "'haiku'"), ("kind", "'model'"), ("limit", "50")):
        assert f"\\set {name} " in script
        script = script.replace(f":{name}", value)
    statement = "\n".join(line for line in script.splitlines() if not line.startswith("\\")).replace(":as_of", "NULL")
    assert [row[2] for row in ask(site.address, statement.replace("%", "%%"))] == names != []


def test_typing_searches_and_the_address_says_so(admin: Visitor) -> None:
    page = admin.goto("/ui/prices")
    page.keyboard.press("/")
    page.keyboard.type("opus")
    page.wait_for_url("**search=opus*")
    assert {"opus" in row[0] for row in cells(page, "#prices")} == {True}


def _set(page: Page, **fields: str) -> None:
    for label, value in fields.items():
        page.locator(f"#panel [name={label}]").fill(value)
    page.get_by_role("button", name="Look at the change").click()


async def _acts(ledger: Ledger) -> list[AuditRow]:
    return await list_acts(ledger, act="price_set", limit=1)


def test_a_price_is_set_after_one_has_seen_what_it_replaces(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/prices")
    page.get_by_role("link", name="Set an action price").click()
    _set(page, name="browser_test", credits_per_use="2", note="first")
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url("**/ui/prices/action/browser_test")
    assert "The price of browser_test was set." in page.locator("#messages").inner_text()
    page.get_by_role("link", name="Set its price").click()
    _set(page, credits_per_use="2.5", multiplier="3", note="dearer")
    page.get_by_role("button", name="Confirm").wait_for()
    admin.picture("prices-confirm")
    assert [row[1:] for row in cells(page, "#change")] == [["2", "2.5"], ["1", "3"]]
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("dearer").wait_for()
    history: list[dict[str, Any]] = told(site, "price-history", priced="browser_test", kind="action")
    assert [(json.loads(row["rates"], parse_float=Decimal), row["note"]) for row in history] == [
        ({"credits_per_use": Decimal("2.5")}, "dearer"),
        ({"credits_per_use": 2}, "first"),
    ]
    assert [row[2] for row in cells(page, "#history")] == ["in force", "past"]
    assert _rates(page, "#history") == [["2.5"], ["2"]]
    (act,) = site.ask(_acts)
    assert act.actor.startswith("user:") or act.actor.startswith("token:")
    assert act.details["name"] == "browser_test"


def test_what_cannot_be_a_price_is_said_at_its_field(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {422}
    page = admin.goto("/ui/prices")
    page.get_by_role("link", name="Set a model price").click()
    _set(page, name="browser-model", input="-1", note="x")
    page.locator("#act-input-said").wait_for()
    assert page.locator("#act-input").get_attribute("aria-invalid") == "true"
    assert page.locator("#act-name").input_value() == "browser-model"
    _set(page, input="", cache_read="1")
    page.get_by_text("of which it is a part, has none").wait_for()
    assert told(site, "price-history", priced="browser-model", kind="model") == []


def test_a_confirmation_of_prices_that_have_moved_on_is_asked_again(
    admin: Visitor, visit: Callable[..., Visitor]
) -> None:
    """Taken out: the comparison of the book's versions; the first price was set over the second without a word."""
    page, other = admin.goto("/ui/prices"), visit().goto("/ui/prices")
    for each, credits_ in ((page, "7"), (other, "8")):
        each.get_by_role("link", name="Set an action price").click()
        _set(each, name="browser_moved", credits_per_use=credits_, note="n")
        each.get_by_role("button", name="Confirm").wait_for()
    other.get_by_role("button", name="Confirm").click()
    other.wait_for_url("**/ui/prices/action/browser_moved")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Prices have changed meanwhile").wait_for()
    assert cells(page, "#change")[0][1:] == ["8", "7"]
    page.get_by_role("button", name="Confirm").click()
    page.wait_for_url("**/ui/prices/action/browser_moved")
    assert _rates(page, "#history") == [["7"], ["8"]]


def test_hostile_texts_are_texts_on_the_prices(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    page = admin.goto("/ui/prices/usage")
    is_harmless(page, user.model)
    page = admin.goto("/ui/prices/action/hostile_dear")
    is_harmless(page, f"{HOSTILE} note")
    page = admin.goto(f"/ui/prices/model/{quote(user.model, safe='')}")
    assert page.locator("h1").inner_text() == user.model
    page.get_by_role("link", name="Set its price").click()
    _set(page, input="1", output="1", provider=HOSTILE, note=HOSTILE)
    page.get_by_role("button", name="Confirm").wait_for()
    assert page.locator("#panel h2").inner_text() == f"The price of {user.model}"
    is_harmless(page)
    page.get_by_role("button", name="Confirm").click()
    page.locator("#history tbody tr").first.wait_for()
    is_harmless(page, HOSTILE)
    page = admin.goto(f"/ui/prices?search={quote(HOSTILE, safe='')}")
    is_harmless(page, user.model)
