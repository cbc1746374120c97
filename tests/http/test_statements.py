"""An account through time on the wire: past balances, and statements in each of their forms."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.http.api import Api

HOSTILE = "<script>alert('1')</script> \"&amp;"


@pytest.fixture(scope="module")
def somebody(api: Api) -> str:
    """Make a user with two charges; returns the address."""
    email = api.new_user(full_name=HOSTILE)
    api.charge(email, credits_="0.105")
    api.charge(email, credits_=20)
    return email


class _Page(HTMLParser):
    """Notes the elements, the attributes and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_past_balance_has_what_was_true_then(api: Api, somebody: str) -> None:
    path = f"/api/v1/admin/credits/user/{somebody}/balance"
    now = api.get(path).body
    assert now.keys() == {"user", "at", "balance", "total_consumed", "version", "recorded_at"}
    assert (now["balance"], now["total_consumed"], now["version"]) == (Decimal("79.895"), Decimal("20.105"), 3)
    events = api.get(f"/api/v1/admin/credits/user/{somebody}").body["recent_events"]
    then = api.get(path, at=events[1]["recorded_at"]).body
    assert (then["balance"], then["recorded_at"]) == (Decimal("99.895"), events[1]["recorded_at"])
    assert then["user"].keys() == {"id", "email", "full_name"}


def test_times_to_come_and_times_before_the_account_are_refused(api: Api, somebody: str) -> None:
    path = f"/api/v1/admin/credits/user/{somebody}/balance"
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert api.get(path, at=future).code == (422, "future")
    assert api.get(path, at="2001-01-01T00:00:00Z").code == (404, "no_balance")
    assert api.get(path, at="yesterday").code == (422, "unprocessable")
    statement = f"/api/v1/admin/users/{somebody}/statement"
    assert api.get(statement, to=future).code == (422, "future")
    assert api.get(statement, **{"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}).code == (
        422, "bad_period",
    )  # fmt: skip
    demo = api.new_user(demo_mode=True)
    assert api.get(f"/api/v1/admin/users/{demo}/statement").code == (404, "no_balance")


def test_a_statement_adds_up_in_each_of_its_forms(api: Api, somebody: str) -> None:
    path = f"/api/v1/admin/users/{somebody}/statement"
    body = api.get(path, **{"from": "2020-01-01T00:00:00Z"}).body
    assert body.keys() == {"user", "period_start", "period_end", "opening_balance", "lines", "closing_balance"}
    assert (body["opening_balance"], body["closing_balance"]) == (0, Decimal("79.895"))
    assert [(line["kind"], line["action_type"], line["count"], line["amount"]) for line in body["lines"]] == [
        ("allowance", None, 1, 100), ("charge", "unit", 2, Decimal("-20.105")),
    ]  # fmt: skip
    answer = api.get(path, format="csv", to=body["period_end"], **{"from": "2020-01-01T00:00:00Z"})
    header, *rows = csv.reader(io.StringIO(answer.content.decode(), newline=""))
    assert header == ["kind", "action_type", "count", "amount"]
    amounts = [Decimal(row[-1]) for row in rows]
    assert (rows[0][0], rows[-1][0], amounts[0], amounts[-1]) == (
        "opening_balance", "closing_balance", Decimal(0), Decimal("79.895"),
    )  # fmt: skip
    assert sum(amounts[:-1]) == amounts[-1]


def test_a_statement_to_print_needs_nothing_and_runs_nothing(api: Api, somebody: str) -> None:
    """Taken out: autoescape."""
    answer = api.get(f"/api/v1/admin/users/{somebody}/statement", format="html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'; style-src 'sha256-" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    text = answer.content.decode()
    page = _Page()
    page.feed(text)
    assert not page.tags & {"script", "img", "link", "iframe", "object", "form", "base", "svg"}
    assert not {name for name in page.attributes if name.startswith("on") or name in {"src", "href", "style"}}
    assert not re.search(r"https?:|url\(|@import", text)
    assert "@media print" in text
    assert any(HOSTILE in found for found in page.texts)
    assert {"Charge: unit", "-20.105", "79.895"} <= set(page.texts)


def test_a_user_has_the_own_statement_and_nobody_elses(api: Api, somebody: str) -> None:
    mine = api.with_token(api.new_token(somebody))
    assert mine.get("/api/v1/me/statement").body["user"]["email"] == somebody
    assert mine.get("/api/v1/me/statement", format="csv").content.startswith(b"kind,action_type,count,amount\r\n")
    assert mine.get("/api/v1/me/statement", format="html").status == 200
    other = api.new_user()
    assert mine.get(f"/api/v1/admin/users/{other}/statement").code == (403, "forbidden")
    assert mine.get("/api/v1/me/statement", user=other).code == (422, "unprocessable")
