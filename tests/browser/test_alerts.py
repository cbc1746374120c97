"""The page of alerts, in a browser."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from groat_server.core.usage import Usage
from groat_server.operations.shared_settings import change_settings
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.browser.pages import FORMULA, HOSTILE, cells, hostile_user, is_harmless, looks_right, told

if TYPE_CHECKING:
    from typing import Any

    from playwright.sync_api import Page

    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

_made: set[str] = set()


@pytest.fixture
def alarming(site: Site) -> Site:
    """Lend the site with balances that have fallen, of a user whose texts are hostile and of another."""
    if site.url not in _made:
        hostile_user(site)
        site.ask(_alarm)
        _made.add(site.url)
    return site


async def _alarm(ledger: Ledger) -> None:
    async with ledger.database.act("tests") as connection:
        await change_settings(connection, alert_below=[Decimal(10), Decimal(1)])
    for name in ("falling", HOSTILE):
        user = await create_user(ledger, f"{uuid4()}@example.com", full_name=name, monthly_allowance=Decimal(12))
        for credits_ in (5, 3, 3):
            usage = Usage(
                user_id=user.id, idempotency_key=str(uuid4()), action_type="image_generation", description=FORMULA
            )
            await charge(ledger, [usage])
            usage = Usage(
                user_id=user.id,
                idempotency_key=str(uuid4()),
                action_type="hostile_paid",
                api_cost=Decimal(credits_) / 10,
                description=f"{HOSTILE} dear",
            )
            await charge(ledger, [usage])


def _numbers(row: dict[str, Any], *columns: str) -> list[Decimal]:
    return [Decimal(row[column]) for column in columns]


def _opened(visitor: Visitor, path: str = "/ui/alerts") -> Page:
    page = visitor.goto(path)
    page.locator("#runway-card table").wait_for()
    return page


@pytest.mark.usefixtures("alarming")
def test_the_alerts_look_right(admin: Visitor) -> None:
    looks_right(admin, "/ui/alerts", "alerts")
    looks_right(admin, "/ui/alerts/runway", "alerts-runway")


def test_anomalies_are_those_of_the_api(admin: Visitor, alarming: Site) -> None:
    page = _opened(admin, "/ui/alerts?factor=3")
    rows = told(alarming, "anomalies", factor=3, limit=20)
    assert len(rows) >= 2
    assert [[row[0], Decimal(row[1]), Decimal(row[2])] for row in cells(page, "#anomalies")] == [
        [row["email"], *_numbers(row, "credits_today", "daily_mean")] for row in rows
    ]
    assert [row[3] for row in cells(page, "#anomalies")] == [
        "new" if row["ratio"] is None else f"{Decimal(row['ratio']):f}" for row in rows
    ]
    links = page.locator("#anomalies tbody th a").evaluate_all("links => links.map((a) => a.getAttribute('href'))")
    assert links == [f"/ui/users/{row['user_id']}" for row in rows]


def test_a_factor_is_chosen_and_stands_in_the_address(admin: Visitor, alarming: Site) -> None:
    page = _opened(admin)
    page.get_by_label("More than").select_option("20")
    page.wait_for_url("**factor=20*")
    assert len(cells(page, "#anomalies")) == len(told(alarming, "anomalies", factor=20, limit=20))


def test_the_credits_that_end_soonest_are_those_of_the_api(admin: Visitor, alarming: Site) -> None:
    page = _opened(admin)
    for days in (7, 30):
        rows = told(alarming, "runway", days=days, limit=20)
        assert [[row[0], *map(Decimal, row[1:4])] for row in cells(page, "#runway")] == [
            [row["email"], *_numbers(row, "days_left", "available", "credits_per_day")] for row in rows
        ]
        page.get_by_label("At the pace of").select_option("30")
        page.locator("#runway-card form option[value='30'][selected]").wait_for(state="attached")


def test_balances_that_fell_are_those_of_the_api(admin: Visitor, alarming: Site) -> None:
    page = _opened(admin)
    rows = told(alarming, "alerts", limit=20)
    assert len(rows) >= 2
    assert [[row[1], *map(Decimal, row[2:5])] for row in cells(page, "#fallen")] == [
        [row["email"], *_numbers(row, "threshold", "balance_before", "balance_after")] for row in rows
    ]


def test_dear_events_are_those_of_the_api(admin: Visitor, alarming: Site) -> None:
    page = _opened(admin)
    rows = told(alarming, "unusual-activity", limit=20)
    assert [[row[1], row[2], row[3], Decimal(row[4])] for row in cells(page, "#dear")] == [
        [row["email"], row["action_type"], row["model"] or "", Decimal(row["credits"])] for row in rows
    ]


def test_hostile_texts_are_texts_on_the_alerts(admin: Visitor, alarming: Site) -> None:
    user = hostile_user(alarming)
    page = _opened(admin)
    is_harmless(page, user.email, user.full_name, user.model, FORMULA, HOSTILE)
