"""Signing in and out, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from groat_server.operations.sessions import make_login_link
from groat_server.operations.tokens import create_token
from groat_server.operations.users import find_user
from tests.browser.conftest import ADMIN
from tests.browser.pages import looks_right

if TYPE_CHECKING:
    from collections.abc import Callable

    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor


async def _link(ledger: Ledger) -> str:
    return await make_login_link(ledger, await find_user(ledger, ADMIN))


async def _token(ledger: Ledger) -> str:
    return (await create_token(ledger, name="t", user_id=await find_user(ledger, ADMIN))).token


def test_the_page_that_asks_for_a_token(visit: Callable[..., Visitor]) -> None:
    somebody = visit(email=None)
    page = somebody.goto("/")
    assert page.url.endswith("/ui/login?next=%2Fui%2Fusage")
    assert page.get_by_label("Token").is_visible()
    looks_right(somebody, "/", "login")


def test_a_link_signs_in_once(visit: Callable[..., Visitor], site: Site) -> None:
    link = site.ask(_link)
    somebody, another = visit(email=None), visit(email=None)
    somebody.page.goto(f"{site.url}/?login={link}")
    somebody.page.wait_for_url("**/ui/usage")
    another.expected_statuses = {401}
    another.page.goto(f"{site.url}/?login={link}")
    another.page.get_by_role("alert").get_by_text("used before").wait_for()


def test_a_token_signs_in_and_the_person_out_again(visit: Callable[..., Visitor], site: Site) -> None:
    somebody = visit(email=None)
    page = somebody.goto("/ui/sessions")
    page.get_by_label("Token").fill(site.ask(_token))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/ui/sessions")
    page.locator("summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/ui/login")
    page = somebody.goto("/ui/sessions")
    assert "/ui/login" in page.url


def test_a_wrong_token_is_refused(visit: Callable[..., Visitor]) -> None:
    somebody = visit(email=None)
    somebody.expected_statuses = {401}
    page = somebody.goto("/ui/login")
    page.get_by_label("Token").fill("groat_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("unknown, expired or revoked").wait_for()
    assert page.get_by_label("Token").is_visible()
