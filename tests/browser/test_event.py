"""The page of one event, in a browser: each figure of how it was priced is the API's."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from groat_server.core.usage import Usage
from groat_server.operations.corrections import Refund, Void, refund_event, void_event
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.browser.conftest import DESKTOP
from tests.browser.pages import HOSTILE, api, cells, figure, hostile_user, is_harmless, looks_right, told

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

KINDS: dict[str, dict[str, Any]] = {
    "model": {"model": "claude-3-5-sonnet", "input_tokens": 1000, "output_tokens": 500, "cache_read_tokens": 100},
    "reasoning": {"model": "o3-mini", "input_tokens": 10, "output_tokens": 500, "reasoning_tokens": 200},
    "flat": {"action_type": "unit", "quantity": Decimal("2.5")},
    "refunded": {"action_type": "unit", "quantity": Decimal(3)},
    "voided": {"action_type": "unit", "quantity": Decimal(4)},
    "given": {"model": "of my own", "api_cost": Decimal("0.0123456789"), "input_tokens": 1},
}
_made: dict[str, tuple[int, dict[str, int]]] = {}


async def _make(ledger: Ledger) -> tuple[int, dict[str, int]]:
    user = await create_user(ledger, f"{uuid4()}@events.example")
    receipts = await charge(
        ledger,
        [
            Usage(user_id=user.id, idempotency_key=f"key of {name}", **{"action_type": "chat", **fields})
            for name, fields in KINDS.items()
        ],
    )
    bookings = [receipt.booking for receipt in receipts]
    events = {name: booking.event_id for name, booking in zip(KINDS, bookings, strict=True) if booking}
    said: dict[str, Any] = {"user_id": user.id, "actor": "tests", "reason": f"{HOSTILE} why"}
    await refund_event(ledger, Refund(**said, key="r1", event_id=events["refunded"], amount=Decimal("0.25")))
    await refund_event(ledger, Refund(**said, key="r2", event_id=events["refunded"], amount=Decimal(1)))
    await void_event(ledger, Void(**said, key="v", event_id=events["voided"]))
    return user.id, events


def path_of(site: Site, kind: str) -> str:
    """Return what of an event follows in addresses after /users."""
    if site.url not in _made:
        _made[site.url] = site.ask(_make)
    user_id, events = _made[site.url]
    return f"{user_id}/events/{events[kind]}"


@pytest.mark.parametrize("kind", ["model", "refunded", "voided"])
def test_how_it_looks(admin: Visitor, site: Site, kind: str) -> None:
    looks_right(admin, f"/ui/users/{path_of(site, kind)}", f"event-{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_every_figure_is_the_apis(admin: Visitor, site: Site, kind: str) -> None:
    path = path_of(site, kind)
    page = admin.goto(f"/ui/users/{path}")
    explained = api(site).get(f"/api/v1/admin/users/{path}/explain")
    event, price = explained["event"], explained["price"]
    assert figure(page, "#credits .figure") == explained["credits_charged"]
    assert (figure(page, "#before"), figure(page, "#after")) == (
        explained["balance_before"],
        explained["balance_after"],
    )
    assert figure(page, "#exact") == explained["exact_credits"]
    if explained["flat"] is None:
        assert figure(page, "#credits-per-dollar") == price["credits_per_dollar"]
        assert figure(page, "#multiplier") == price["multiplier"]
        assert figure(page, "#api-cost .figure") == explained["api_cost"]
    else:
        assert Decimal(page.locator("#factors data").first.get_attribute("value") or "") in explained["flat"].values()
        assert figure(page, "#quantity") == event["quantity"]
    parts = [row for row in cells(page, "#components") if not row[0].startswith("API cost")]
    assert [[Decimal(row[2]), Decimal(row[3])] for row in parts] == [
        [part["rate"], part["cost"]] for part in explained["components"]
    ]
    assert [row[0].split()[0] for row in parts] == [part["kind"].split("_")[0] for part in explained["components"]]
    assert [Decimal(row[2]) for row in cells(page, "#draws")] == [lot["credits"] for lot in explained["lots"]]
    assert [Decimal(row[1]) for row in cells(page, "#refunds")] == [row["amount"] for row in explained["refunds"]]
    if explained["refunds"]:
        assert figure(page, "#refunded") == explained["refunded"] == Decimal("1.25")
    text = page.locator("main").inner_text()
    assert event["idempotency_key"] in text
    assert page.locator("#event time").first.get_attribute("datetime") == event["timestamp"].replace("Z", "+00:00")
    assert (page.locator("#void").count() == 1) == explained["voided"] == (kind == "voided")


def test_the_credits_are_those_of_the_published_sql(admin: Visitor, site: Site) -> None:
    path = path_of(site, "model")
    page = admin.goto(f"/ui/users/{path}")
    event = api(site).get(f"/api/v1/admin/users/{path}/explain")["event"]
    rows = [row for row in told(site, "events", user=int(path.split("/")[0])) if row["id"] == event["id"]]
    page.locator("#credits a.sql").click()
    page.locator("#panel-body pre").wait_for()
    found = [row for row in site.psql(page.locator("#panel-body code").inner_text()) if row[0] == str(event["id"])]
    assert len(rows) == len(found) == 1
    assert str(figure(page, "#credits .figure")) in found[0]
    assert rows[0]["credits"] == figure(page, "#credits .figure")


def test_the_price_leads_to_its_page(admin: Visitor, site: Site) -> None:
    page = admin.goto(f"/ui/users/{path_of(site, 'model')}")
    page.locator("#factors a").click()
    page.wait_for_url("**/ui/prices/model/*")
    assert page.locator("h1").count() == 1


def test_hostile_texts_are_texts(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    path = f"{user.user_id}/events/{user.unpriced_event_id}"
    page = admin.goto(f"/ui/users/{path}")
    is_harmless(page, user.email, user.model, user.description)
    metadata = json.loads(page.locator("#metadata").inner_text())
    assert metadata == api(site).get(f"/api/v1/admin/users/{path}/explain")["event"]["metadata"]
    assert HOSTILE in metadata
    assert page.evaluate("document.documentElement.scrollWidth") <= DESKTOP
    for kind in ("refunded", "voided"):
        is_harmless(admin.goto(f"/ui/users/{path_of(site, kind)}"), f"{HOSTILE} why")


def test_an_event_of_somebody_else_is_not_shown(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {404}
    user = hostile_user(site)
    event_id = path_of(site, "model").rpartition("/")[2]
    admin.goto(f"/ui/users/{user.user_id}/events/{event_id}").get_by_text("This user has no such event.").wait_for()
