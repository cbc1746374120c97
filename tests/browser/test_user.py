"""The page of one user, in a browser: the balance, how it came about, and what the account is made of."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from groat_server.operations.corrections import Refund, Void, refund_event, void_event
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.tokens import create_token
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.browser.pages import FORMULA, HOSTILE, api, cells, figure, hostile_user, is_harmless, looks_right, told
from tests.operations.ledgers import use

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from groat_server.core.rows import UserRow
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

EMAIL = "user@example.com"
_made: dict[str, UserRow] = {}


async def _make_account(ledger: Ledger) -> UserRow:
    user = await create_user(ledger, f"{uuid4()}@account.example", full_name="An Account")
    receipts = await charge(ledger, [use(user.id, f"k{number}", f"1.{number:012d}") for number in range(30)])
    events = [receipt.booking.event_id for receipt in receipts if receipt.booking]
    said: dict[str, Any] = {"user_id": user.id, "actor": "tests", "reason": f"{HOSTILE} why"}
    await grant_credits(ledger, Grant(**said, key="grant", kind="purchase", amount=Decimal(50)))
    await refund_event(ledger, Refund(**said, key="refund", event_id=events[0], amount=Decimal("0.5")))
    await void_event(ledger, Void(**said, key="void", event_id=events[1]))
    await place_hold(ledger, NewHold(user_id=user.id, idempotency_key="h", seconds=3600, amount=Decimal("2.5")))
    await create_token(ledger, name=f"{HOSTILE} token", user_id=user.id, lifetime=timedelta(days=3), actor="tests")
    return user


def account(site: Site) -> UserRow:
    """Return a user of this module's own whose account has some of everything."""
    if site.url not in _made:
        _made[site.url] = site.ask(_make_account)
    return _made[site.url]


def asked_of(page: Page, selector: str) -> dict[str, Any]:
    """Return the parameters of the SQL link in an element."""
    address = page.locator(f"{selector} a.sql").first.get_attribute("href")
    assert address is not None
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


@pytest.mark.parametrize("part", ["events", "entries", "lots", "tokens", "audit"])
def test_how_it_looks(admin: Visitor, site: Site, part: str) -> None:
    path = f"/ui/users/{account(site).id}?part={part}"
    looks_right(admin, path, f"user-{part}")


def test_the_samples_user_looks_right(admin: Visitor) -> None:
    looks_right(admin, f"/ui/users/{EMAIL}?days=90", "user")


@pytest.mark.parametrize("days", [30, 365])
@pytest.mark.parametrize("whose", ["sample", "own"])
def test_every_figure_is_the_apis_and_the_published_sqls(admin: Visitor, site: Site, whose: str, days: int) -> None:
    page = admin.goto(f"/ui/users/{EMAIL if whose == 'sample' else account(site).id}?days={days}")
    user_id = int(urlsplit(page.url).path.rpartition("/")[2])
    asked = asked_of(page, "#balance")
    script = api(site).text(f"/api/v1/admin/credits/user/{user_id}", days=days, explain="sql")
    assert page.request.get(page.url.partition("?")[0] + "/sql?" + urlsplit(_sql(page)).query).ok
    report = api(site).get(f"/api/v1/admin/credits/user/{user_id}", days=days)
    balance = report["balance"]
    ids = {
        "current_balance": "#balance .figure",
        "available": "#available .figure",
        "held": "#held .figure",
        "current_month_consumed": "#period .figure",
        "monthly_allowance": "#allowance",
        "total_consumed": "#total .figure",
        "overdraft_limit": "#overdraft",
        "rollover_cap": "#rollover",
    }
    assert {name: figure(page, selector) for name, selector in ids.items()} == {name: balance[name] for name in ids}
    assert page.locator("#reset time").first.get_attribute("datetime") == balance["next_reset_at"].replace(
        "Z", "+00:00"
    )
    assert str(balance["current_balance"]) in str(site.psql(_first_statement(script)))
    usage = told(site, "user-actions", user=user_id, days=days, as_of=asked["as_of"])
    assert [[Decimal(cell) for cell in row[1:]] for row in cells(page, "#actions")] == [
        [row[name] for name in ("event_count", "total_api_cost_dollars", "total_credits", "refunded_credits")]
        for row in usage
    ]
    events = report["recent_events"]
    shown = cells(page, "#rows")
    assert [(Decimal(row[5]), Decimal(row[6])) for row in shown[:20]] == [
        (event["credits"], event["balance_after"]) for event in events
    ]
    holds = told(site, "user-holds", user=user_id)
    assert [row[:2] for row in cells(page, "#holds")] == [[row["id"], str(row["amount"])] for row in holds]
    assert sum((row["amount"] for row in holds), Decimal(0)) == balance["held"]


def _first_statement(script: str) -> str:
    """Return a script up to the end of its first statement, which is the one that shows the user."""
    return script.partition("\n;")[0] + "\n;" if "\n;" in script else script.partition(";\n\n")[0] + ";"


def _sql(page: Page) -> str:
    return page.locator("#balance a.sql").get_attribute("href") or ""


@pytest.mark.parametrize("days", [7, 90])
@pytest.mark.parametrize("whose", ["sample", "own"])
def test_the_line_is_the_reports_and_ends_at_the_balance(admin: Visitor, site: Site, whose: str, days: int) -> None:
    page = admin.goto(f"/ui/users/{EMAIL if whose == 'sample' else account(site).id}?days={days}")
    asked = asked_of(page, ".card:has(#balance-line) header")
    points = told(site, "user-balance-line", **{"user": int(asked["user"]), "from": asked["from"]})
    page.get_by_text("As a table").click()
    page.locator("#line").wait_for()
    shown = cells(page, "#line")
    assert [[Decimal(row[2]), Decimal(row[3])] for row in shown] == [
        [point["amount"], point["balance"]] for point in reversed(points)
    ]
    assert [row[1].split()[0] for row in shown] == [point["kind"] for point in reversed(points)]
    assert points[-1]["balance"] == figure(page, "#balance .figure")
    chart = json.loads(page.locator("#balance-line").inner_text())
    assert [value for _, value in chart["points"]] == [
        *(float(point["balance"]) for point in points),
        float(figure(page, "#balance .figure")),
    ]
    marks = [mark["name"].split()[0] for mark in chart["marks"]]
    moves = [point["kind"] for point in points if point["kind"] not in {"usage", "opening"}]
    assert marks == [*moves, *(["hold"] if whose == "own" else [])]
    if whose == "own":
        assert {"purchase", "refund", "void"} <= set(moves)


def test_three_clicks_lead_from_the_list_to_how_an_event_was_priced(admin: Visitor) -> None:
    page = admin.goto("/ui/users?search=user@example.com")
    page.get_by_role("link", name=EMAIL).click()
    page.locator("#rows tbody th a").first.click()
    page.get_by_role("heading", name="How it was priced").wait_for()


def test_the_lists_are_the_apis(admin: Visitor, site: Site) -> None:
    user = account(site)
    page = admin.goto(f"/ui/users/{user.id}")
    lists = {"Ledger entries": ("ledger", "entries", "amount"), "Lots": ("lots", "lots", "amount")}
    for title, (path, name, column) in lists.items():
        page.get_by_role("link", name=title).click()
        page.wait_for_url(f"**part={name}*")
        page.locator(f"#part caption:has-text('{title}')").wait_for(state="attached")
        rows = api(site).get(f"/api/v1/admin/users/{user.id}/{path}")[name]
        assert [Decimal(row[2]) for row in cells(page, "#rows")] == [row[column] for row in rows]
    page.get_by_role("link", name="Audit log").last.click()
    page.locator("#part caption:has-text('was done')").wait_for(state="attached")
    acts = api(site).get("/api/v1/admin/audit", user=user.id)
    (rows,) = (value for value in acts.values() if isinstance(value, list))
    assert [row[1] for row in cells(page, "#rows")] == [row["act"] for row in rows][:25]


def test_events_go_on_from_page_to_page(admin: Visitor, site: Site) -> None:
    user = account(site)
    page = admin.goto(f"/ui/users/{user.id}")
    first = cells(page, "#rows")
    page.get_by_role("link", name="Next", exact=True).click()
    page.wait_for_url("**cursor=*")
    found = [row[6] for row in first + cells(page, "#rows")]
    assert (len(first), len(set(found))) == (25, 29)  # of 30 one was voided


def test_an_address_leads_to_the_page_of_the_id(admin: Visitor, site: Site) -> None:
    page = admin.goto(f"/ui/users/{EMAIL}?days=7&tz=Asia/Kolkata")
    user_id = api(site).get(f"/api/v1/admin/users/{EMAIL}")["user"]["id"]
    assert page.url == f"{site.url}/ui/users/{user_id}?days=7&tz=Asia/Kolkata"


def test_nobody_is_a_page_that_says_so(admin: Visitor) -> None:
    admin.expected_statuses = {404, 422}
    for path, said in (("nobody@example.com", "Nobody is known"), ("999999999", "no such user"), ("x", "be taken")):
        admin.goto(f"/ui/users/{path}").get_by_text(said).wait_for()


def test_the_statement_is_the_apis(admin: Visitor, site: Site) -> None:
    user = account(site)
    page = admin.goto(f"/ui/users/{user.id}")
    with page.expect_download() as download:
        page.locator("#part > footer a", has_text="CSV").click()
    lines = download.value.path().read_text().splitlines()
    statement = api(site).get(f"/api/v1/admin/users/{user.id}/statement")
    assert lines[1].endswith(f",{statement['opening_balance']}")
    assert lines[-1].endswith(f",{statement['closing_balance']}")
    assert len(lines) == len(statement["lines"]) + 3
    page.get_by_role("link", name="to print").click()
    page.wait_for_url("**/statement.html")
    assert user.email in page.locator("body").inner_text()


def test_hostile_texts_are_texts(admin: Visitor, site: Site) -> None:
    hostile = hostile_user(site)
    page = admin.goto(f"/ui/users/{hostile.user_id}")
    is_harmless(page, hostile.email, hostile.full_name, hostile.model, hostile.description, FORMULA)
    own = account(site)
    for part, text in (("entries", f"{HOSTILE} why"), ("lots", f"{HOSTILE} why"), ("tokens", f"{HOSTILE} token")):
        is_harmless(admin.goto(f"/ui/users/{own.id}?part={part}"), text)
    is_harmless(admin.goto(f"/ui/users/{own.id}?part=audit"))


def test_the_sql_of_the_tiles_is_shown(admin: Visitor, site: Site) -> None:
    page = admin.goto(f"/ui/users/{account(site).id}")
    page.locator("#balance a.sql").click()
    page.locator("#panel-body pre").wait_for()
    script = page.locator("#panel-body code").inner_text()
    assert "user_credit_balances" in script
    assert cast("list[Any]", site.psql(script)) is not None
