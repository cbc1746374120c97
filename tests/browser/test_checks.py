"""The page of the checks, in a browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from groat_server.jobs.checks import CheckRuns
from groat_server.operations.checks import CHECKS
from tests.browser.pages import api, cells, figure, hostile_user, is_harmless, looks_right, told
from tests.operations.ledgers import ask, connect

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor


def _run_all(somebody: Visitor) -> Page:
    page = somebody.goto("/ui/checks")
    page.get_by_role("button", name="Run all now").click()
    page.get_by_text(f"All {len(CHECKS)} were run.").wait_for()
    return page


def test_the_checks_look_right(admin: Visitor) -> None:
    looks_right(admin, "/ui/checks", "checks")


def test_a_check_looks_right(admin: Visitor) -> None:
    looks_right(admin, "/ui/checks/durable", "checks-one")


def test_all_checks_are_run_one_after_another_and_say_what_the_api_says(admin: Visitor, site: Site) -> None:
    hostile_user(site)
    page = _run_all(admin)
    shown = {row[0].splitlines()[0]: row for row in cells(page, "#checks")}
    expected = api(site).get("/api/v1/admin/checks")["checks"]
    assert [(name, row[1], row[2]) for name, row in shown.items()] == [
        (check["name"], check["verdict"], str(check["count"])) for check in expected
    ]
    assert [row[0].splitlines()[-1] for row in shown.values()] == [check["promise"] for check in expected]
    assert all(row[3] <= row[4] for row in shown.values())
    page.reload()
    admin.picture("checks-run-light-1280")
    odd = {check["name"] for check in expected if check["verdict"] != "pass"}
    assert set(page.locator(".chips a").all_inner_texts()) == odd > set()


def test_health_and_the_services_figures_are_those_of_the_api_and_of_the_metrics(admin: Visitor, site: Site) -> None:
    page = _run_all(admin)
    page.reload()
    text = api(site).text("/metrics")
    metrics = {name: float(value) for name, value in re.findall(r"^groat_(\S+) (\S+)$", text, re.MULTILINE)}
    for name in ("users_without_balance", "overdue_resets", "open_holds", "held_credits"):
        assert float(figure(page, f"#{name.replace('_', '-')}")) == metrics[name]
    (newest,) = told(site, "recent-activity", limit=1)
    moment = page.locator("#last-event time").get_attribute("datetime")
    assert moment == newest["timestamp"].replace("Z", "+00:00")
    checks = {check["name"]: check["count"] for check in api(site).get("/api/v1/admin/checks")["checks"]}
    assert figure(page, "#demo-leak") == checks["demo_untracked"]
    assert figure(page, "#unpriced") == checks["no_unpriced_event"]
    assert {
        name: float(figure(page, f"[data-figure={name}]")) for name in ("queued", "not_taken", "batched_charges")
    } == {
        "queued": metrics["batcher_queue_charges"],
        "not_taken": metrics["batcher_refused_charges_total"],
        "batched_charges": metrics["batcher_batch_charges_sum"],
    }


def test_the_sql_of_a_check_is_shown_and_finds_what_the_page_shows(admin: Visitor, site: Site) -> None:
    hostile_user(site)
    page = admin.goto("/ui/checks/no_unpriced_event")
    page.get_by_role("button", name="Run now").click()
    page.locator("#findings tbody tr").first.wait_for()
    found = cells(page, "#findings")
    page.get_by_role("link", name="SQL of no_unpriced_event").click()
    script = page.locator("#panel #sql code").inner_text()
    assert [list(row) for row in ask(site.address, script.replace("%", "%%"))] == found


def test_a_check_that_fails_says_so_and_leads_to_the_user_and_passes_again(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    page = admin.goto("/ui/checks")
    row = page.locator("#check-total_consumed")
    change = b"UPDATE user_credit_balances SET total_consumed = total_consumed + %s WHERE user_id = %s"
    with connect(site.address) as connection:
        connection.execute(change, (1, user.user_id))
        try:
            row.get_by_role("button").click()
            row.get_by_text("fail", exact=True).wait_for()
        finally:
            connection.execute(change, (-1, user.user_id))
    row.get_by_role("link", name="total_consumed", exact=True).click()
    page.wait_for_url("**/ui/checks/total_consumed")
    assert page.locator("#findings a").get_attribute("href") == f"/ui/users/{user.user_id}"
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("Nothing found").wait_for()


def test_hostile_texts_are_texts_on_the_checks(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    page = admin.goto("/ui/checks/no_unpriced_event")
    page.get_by_role("button", name="Run now").click()
    page.locator("#findings tbody tr").first.wait_for()
    is_harmless(page, user.model)


def test_a_check_that_is_none_is_a_page_that_says_so(admin: Visitor) -> None:
    admin.expected_statuses = {404}
    page = admin.goto("/ui/checks/nonsense")
    page.get_by_text("There is no check of this name").wait_for()


def test_a_verdict_keeps_since_when_it_is_the_same(site: Site) -> None:
    """Taken out: `since` is carried over; it was that of the last run."""

    async def twice(ledger: Ledger) -> None:
        runs = CheckRuns()
        await runs.run(ledger, "durable")
        first = runs.last("durable")
        await runs.run(ledger, "durable")
        second = runs.last("durable")
        assert first is not None
        assert second is not None
        assert second.ended_at > first.ended_at
        assert second.since == first.since == first.ended_at

    site.ask(twice)
