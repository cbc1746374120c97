"""The explorer of reports, in a browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.operations.reports import REPORTS
from tests.browser.conftest import ADMIN
from tests.browser.pages import FORMULA, HOSTILE, cells, hostile_user, is_harmless, looks_right, told
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from tests.browser.conftest import Site, Visitor


def test_the_reports_look_right(admin: Visitor) -> None:
    looks_right(admin, "/ui/reports", "reports")
    looks_right(admin, "/ui/reports/usage", "reports-usage")
    looks_right(admin, "/ui/reports/user-events", "reports-needs")


def test_all_reports_are_listed(admin: Visitor) -> None:
    page = admin.goto("/ui/reports")
    assert [(row[0], row[1]) for row in cells(page, "#reports")] == [
        (report.title, name) for name, report in REPORTS.items()
    ]


def _given(name: str, now: datetime) -> dict[str, Any]:
    """Return parameters with which a report says the same a moment later."""
    known = {parameter.name: parameter for parameter in REPORTS[name].parameters}
    said: dict[str, Any] = {
        "as_of": now,
        "from": now - timedelta(days=30),
        "to": now,
        "user": ADMIN,
        "priced": "claude-3-5-sonnet",
    }
    given = {key: value for key, value in said.items() if key in known}
    return given | ({"kind": "model"} if "kind" in known and known["kind"].is_required else {})


def _comparable(value: object, kind: str) -> str:
    if value is None or value == "":
        return ""
    match kind:
        case "number" | "integer":
            return f"{Decimal(str(value)).normalize():f}"
        case "instant" | "date":
            return str(value).replace("Z", "+00:00")
        case "flag":
            return "yes" if value in (True, "yes") else "no"
        case "list":
            return " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(str(value).split())


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_shows_what_the_api_and_its_published_sql_say(admin: Visitor, site: Site, name: str) -> None:
    hostile_user(site)
    given = _given(name, datetime.now(UTC).replace(microsecond=0))
    query = "&".join(
        f"{key}={value.strftime('%Y-%m-%dT%H:%M:%SZ') if isinstance(value, datetime) else value}"
        for key, value in given.items()
    )
    page = admin.goto(f"/ui/reports/{name}?{query}")
    rows = told(site, name, **given)
    kinds = REPORTS[name].columns
    shown = cells(page, "#rows")
    assert [[_comparable(cell, kind) for cell, kind in zip(row, kinds.values(), strict=True)] for row in shown] == [
        [_comparable(row[column], kind) for column, kind in kinds.items()] for row in rows
    ]
    right = page.locator("#rows thead th.number").all_inner_texts()
    assert right == ([column for column, kind in kinds.items() if kind in {"integer", "number"}] if rows else [])


def test_parameters_are_given_by_the_form(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/reports/top-consumers")
    page.get_by_label("days").fill("90")
    page.get_by_label("limit").fill("3")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**days=90*")
    assert [row[0] for row in cells(page, "#rows")] == [
        str(row[next(iter(REPORTS["top-consumers"].columns))]) for row in told(site, "top-consumers", days=90, limit=3)
    ]
    assert page.locator("#row-count data").get_attribute("value") == "3"
    assert page.get_by_label("days").input_value() == "90"


def test_a_report_that_needs_a_user_asks_and_says_who_is_unknown(admin: Visitor) -> None:
    page = admin.goto("/ui/reports/user-events")
    page.get_by_text("It needs to be told more.").wait_for()
    admin.expected_statuses = {422}
    page.get_by_label("user (needed)").fill("nobody@example.com")
    page.get_by_role("button", name="Show").click()
    page.locator("#parameter-user-said.field-error").wait_for()


def test_what_cannot_be_taken_together_is_said(admin: Visitor) -> None:
    admin.expected_statuses = {422}
    page = admin.goto("/ui/reports/usage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")
    assert "before from" in page.locator("#parameter-to-said").inner_text()


@pytest.mark.parametrize("kind", ["CSV", "XLSX"])
def test_a_report_is_taken_along_as_a_file(admin: Visitor, kind: str) -> None:
    page = admin.goto("/ui/reports/overview?days=7")
    with page.expect_download() as download:
        page.get_by_role("link", name=kind).click()
    assert download.value.suggested_filename.endswith(kind.lower())


def test_the_sql_of_a_report_has_its_parameters(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/reports/unusual-activity?limit=4")
    page.get_by_role("link", name="SQL of unusual-activity").click()
    script = page.locator("#panel #sql code").inner_text()
    assert "\\set limit 4" in script
    statement = "\n".join(line for line in script.splitlines() if not line.startswith("\\")).replace(":limit", "4")
    assert [str(row[0]) for row in ask(site.address, statement)] == [row[0] for row in cells(page, "#rows")]


@pytest.mark.parametrize("name", ["recent-activity", "accounts", "prices", "usage-by-model", "unusual-activity"])
def test_hostile_texts_are_texts_in_reports(admin: Visitor, site: Site, name: str) -> None:
    user = hostile_user(site)
    page = admin.goto(f"/ui/reports/{name}?limit=500" if name != "usage-by-model" else f"/ui/reports/{name}")
    expected = {
        "recent-activity": (user.email, FORMULA),
        "accounts": (user.email, user.full_name),
        "prices": (f"{HOSTILE} note",),
        "usage-by-model": (user.model,),
        "unusual-activity": (user.model, FORMULA),
    }
    is_harmless(page, *expected[name])
