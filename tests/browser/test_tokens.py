"""The page of tokens, in a browser."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import httpx2

from groat_server.core.scopes import Scope
from groat_server.operations.audit import list_acts
from groat_server.operations.tokens import create_token
from tests.browser.pages import HOSTILE, api, cells, hostile_user, is_harmless, looks_right
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from groat_server.core.rows import AuditRow
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor


def _named(site: Site, *, days: int | None = None) -> str:
    """Make a service's token, and return its name."""
    name = f"service {uuid4()}"

    async def make(ledger: Ledger) -> None:
        lifetime = None if days is None else timedelta(days=days, hours=1)
        await create_token(ledger, name=name, scopes=[Scope.REPORTS_READ, Scope.USAGE_WRITE], lifetime=lifetime)

    site.ask(make)
    return name


def _row(page: Page, name: str) -> list[str]:
    (row,) = [row for row in cells(page, "#tokens") if row[0] == name]
    return row


def _shown(page: Page) -> str:
    page.locator("#new-token").wait_for()
    return page.locator("#new-token").inner_text()


def _works(site: Site, token: str) -> bool:
    answer = httpx2.get(f"{site.url}/api/v1/admin/reports", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code == 200


def _newest_act(site: Site) -> AuditRow:
    async def newest(ledger: Ledger) -> AuditRow:
        acts = await list_acts(ledger, limit=5)
        return next(act for act in acts if act.act.startswith("token_"))

    return site.ask(newest)


def test_the_tokens_look_right(admin: Visitor, site: Site) -> None:
    _named(site, days=5)
    looks_right(admin, "/ui/tokens?show=all", "tokens")
    looks_right(admin, "/ui/tokens/new?holder=service", "tokens-form")


def test_the_tokens_are_those_of_the_api(admin: Visitor, site: Site) -> None:
    _named(site, days=5)
    expected = api(site).get("/api/v1/admin/tokens")["tokens"]
    page = admin.goto("/ui/tokens?show=all")
    shown = [(row[0].removesuffix(" yours"), row[2], row[5]) for row in cells(page, "#tokens")][:100]
    assert shown == [
        (
            token["name"],
            token["prefix"] + "\N{HORIZONTAL ELLIPSIS}",
            (token["revoked_at"] or token["expires_at"] or "never").replace("Z", "+00:00"),
        )
        for token in expected
    ]


def test_a_token_that_ends_soon_is_pointed_out(admin: Visitor, site: Site) -> None:
    soon, later = _named(site, days=5), _named(site, days=90)
    page = admin.goto("/ui/tokens")
    rows = {name: page.locator("#tokens tr", has_text=name) for name in (soon, later)}
    assert rows[soon].locator(".badge[data-variant=destructive]").inner_text() == "in 5 days"
    assert rows[later].locator(".badge[data-variant=destructive]").count() == 0
    assert rows[later].get_by_text("in 90 days").count() == 1
    assert "within 14 days" in page.locator("main").inner_text()


def test_a_users_token_is_made_shown_once_and_copied(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)
    admin.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = admin.goto("/ui/tokens")
    page.get_by_role("link", name="New for a user").click()
    name = f"{HOSTILE} {uuid4()}"
    page.locator("#act-user").fill(user.email)
    page.locator("#act-name").fill(name)
    page.locator("#act-lifetime_days").fill("3")
    page.get_by_role("button", name="Make the token").click()
    token = _shown(page)
    admin.picture("tokens-made")
    page.get_by_role("button", name="Copy").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == token
    me = httpx2.get(f"{site.url}/api/v1/me/credits", headers={"Authorization": f"Bearer {token}"})
    assert me.status_code == 200
    page.get_by_role("link", name="Done").click()
    page.wait_for_url("**/ui/tokens")
    assert token not in page.content()
    assert _row(page, name)[1] == user.email
    is_harmless(page, name, user.email)
    act = _newest_act(site)
    assert (act.act, act.user_id) == ("token_created", user.user_id)
    # It is in no address that the browser asked for, in no log, and nowhere in the database.
    assert not [url for url in admin.requests if token in url]
    assert token not in site.log.read_text("utf-8")
    assert "groat_" not in str(act.details).replace(token[:12], "")
    assert ask(
        site.address, "SELECT count(*) FROM access_tokens WHERE access_tokens::text LIKE %s", [f"%{token}%"]
    ) == [(0,)]


def test_a_services_token_has_the_scopes_that_were_ticked(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/tokens")
    page.get_by_role("link", name="New for a service").click()
    name = f"importer {uuid4()}"
    page.locator("#act-name").fill(name)
    admin.expected_statuses = {422}
    page.get_by_role("button", name="Make the token").click()
    page.get_by_text("Choose at least one.").wait_for()
    page.get_by_label("reports:read").check()
    page.get_by_label("balance:read").check()
    page.get_by_role("button", name="Make the token").click()
    assert _works(site, _shown(page))
    (made,) = [token for token in api(site).get("/api/v1/admin/tokens")["tokens"] if token["name"] == name]
    assert (made["email"], sorted(made["scopes"])) == (None, ["balance:read", "reports:read"])


def test_a_user_who_is_not_there_is_said_at_the_field(admin: Visitor) -> None:
    admin.expected_statuses = {404, 422}
    page = admin.goto("/ui/tokens")
    page.get_by_role("link", name="New for a user").click()
    page.locator("#act-user").fill("nobody@example.com")
    page.locator("#act-name").fill("x")
    page.get_by_role("button", name="Make the token").click()
    page.locator("#act-user-said.field-error").wait_for()
    page.locator("#act-lifetime_days").fill("0")
    page.get_by_role("button", name="Make the token").click()
    page.locator("#act-lifetime_days-said.field-error").wait_for()


def test_a_token_is_rotated_and_the_old_one_works_on_for_the_hours_that_were_said(admin: Visitor, site: Site) -> None:
    name = _named(site)
    page = admin.goto("/ui/tokens")
    page.get_by_role("link", name=f"Rotate: {name}").click()
    page.locator("#act-grace_hours").fill("0")
    page.get_by_role("button", name="Rotate").click()
    assert _works(site, _shown(page))
    page.get_by_role("link", name="Done").click()
    page.wait_for_url("**/ui/tokens")
    assert len([row for row in cells(page, "#tokens") if row[0] == name]) == 1
    page = admin.goto("/ui/tokens?show=all")
    assert sorted(row[4].split()[0] for row in cells(page, "#tokens") if row[0] == name) == ["expired", "works"]


def test_a_token_is_revoked_once_that_is_confirmed(admin: Visitor, site: Site) -> None:
    name = _named(site)
    page = admin.goto("/ui/tokens")
    page.get_by_role("link", name=f"Revoke: {name}").click()
    page.get_by_text("This cannot be taken back.").wait_for()
    assert _row(page, name)[4] == "works"
    page.get_by_role("button", name="Revoke").click()
    page.get_by_text("was revoked.").wait_for()
    assert [row for row in cells(page, "#tokens") if row[0] == name] == []
    page = admin.goto("/ui/tokens?show=all")
    assert _row(page, name)[4] == "revoked"
    assert _newest_act(site).act == "token_revoked"
