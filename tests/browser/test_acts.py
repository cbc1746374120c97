"""Acts by hand, in a browser: what will come of one is shown, then it is done, once, and told in the audit log.

Taken out to see tests here fail: `view.may` around an act of an administrator (a service saw it), the rehearsal
(nothing was foreseen, refusals came at the end), the key of the form (two presses gave twice).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from groat_server.core.scopes import Scope
from groat_server.operations.audit import list_acts
from groat_server.operations.corrections import Refund, refund_event
from groat_server.operations.grants import Adjustment, adjust_credits
from groat_server.operations.sessions import sign_in_by_token
from groat_server.operations.tokens import create_token
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user, find_user
from tests.browser.conftest import ADMIN
from tests.browser.pages import HOSTILE, LOOKS, api, figure, is_harmless, is_right, looks_right
from tests.operations.ledgers import ask, use

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from groat_server.core.rows import AuditRow
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor


DONE = {
    "Grant": ("grant", "Granted"),
    "Adjust": ("adjustment", "The balance was adjusted"),
    "Terms": ("terms", "The terms were changed"),
}
"""By its button, what an act is called in the audit log, and what is said of it."""


def new_user(site: Site, **fields: Any) -> int:
    """Create a user of the test's own; returns the id."""

    async def make(ledger: Ledger) -> int:
        return (await create_user(ledger, f"{uuid4()}@acts.example", **fields)).id

    return site.ask(make)


def new_event(site: Site, user_id: int, credits_: str = "30") -> int:
    """Charge a user; returns the event's id."""

    async def make(ledger: Ledger) -> int:
        (receipt,) = await charge(ledger, [use(user_id, str(uuid4()), credits_)])
        assert receipt.booking is not None
        return receipt.booking.event_id

    return site.ask(make)


def balance(site: Site, user_id: int) -> dict[str, Any]:
    """Return what the API says of a balance."""
    found: dict[str, Any] = api(site).get(f"/api/v1/admin/users/{user_id}")["balance"]
    return found


def logged(site: Site, user_id: int) -> list[AuditRow]:
    """Return what was done to a user, newest first."""

    async def read(ledger: Ledger) -> list[AuditRow]:
        return await list_acts(ledger, user_id=user_id)

    return site.ask(read)


def actor(site: Site) -> str:
    """Return how the administrator at the browser is named in the books."""

    async def find(ledger: Ledger) -> int:
        return await find_user(ledger, ADMIN)

    return f"user:{site.ask(find)}"


def fill(page: Page, title: str, **fields: str) -> None:
    """Open an act's form by its button, fill it in, and go on to what will come of it."""
    page.get_by_role("group", name="Acts").get_by_role("link", name=title, exact=True).click()
    page.locator("#panel #act").wait_for()
    for name, value in fields.items():
        place = page.locator(f"#act [name={name}]")
        if place.evaluate("each => each.tagName") == "SELECT":
            place.select_option(value)
        else:
            place.fill(value)
    page.locator("#act button").click()


def foreseen(page: Page) -> tuple[Decimal | int, Decimal | int]:
    """Return the balance before and after, as the confirmation shows it."""
    page.locator("#preview").wait_for()
    before, after = page.locator("#preview tbody tr").first.locator("data").all()
    return Decimal(before.get_attribute("value") or ""), Decimal(after.get_attribute("value") or "")


def confirm(page: Page, said: str) -> None:
    """Confirm, and wait until the next page says that it was done."""
    page.get_by_role("button", name="Confirm").click()
    page.locator("#messages").get_by_text(said).wait_for()


@pytest.mark.parametrize("act", ["grant", "adjust", "terms", "anonymise", "tokens/new", "demo-mode", "administrator"])
def test_how_a_form_looks(admin: Visitor, site: Site, act: str) -> None:
    looks_right(admin, f"/ui/users/{new_user(site)}/{act}", f"act-{act.replace('/', '-')}")


def test_how_a_confirmation_looks(admin: Visitor, site: Site) -> None:
    page = admin.goto(f"/ui/users/{new_user(site)}")
    fill(page, "Grant", amount="50", reason="Bought fifty")
    page.locator("#preview").wait_for()
    for width, theme in LOOKS:
        admin.turn_to(width, theme)
        is_right(admin, "act-confirm", width, theme)


@pytest.mark.parametrize(
    ("title", "fields", "change"),
    [
        ("Grant", {"amount": "50.000000000001", "kind": "purchase", "cost_basis": "0.1"}, "50.000000000001"),
        ("Grant", {"amount": "5", "kind": "promotion", "expires_at": "2099-12-31T23:59"}, "5"),
        ("Adjust", {"amount": "-12.5"}, "-12.5"),
        ("Adjust", {"amount": "0.000000000001"}, "0.000000000001"),
        ("Terms", {"monthly_allowance": "150", "effective": "now"}, "50"),
    ],
)
def test_credits_move_as_was_shown_and_it_is_told_who_did_it_and_why(
    admin: Visitor, site: Site, title: str, fields: dict[str, str], change: str
) -> None:
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, title, **fields, reason=f"{HOSTILE} said so")
    before, after = foreseen(page)
    assert (before, after) == (100, 100 + Decimal(change))
    assert balance(site, user_id)["current_balance"] == before
    is_harmless(page)
    assert f"{HOSTILE} said so" in page.locator("#act").inner_text()
    act, said = DONE[title]
    confirm(page, said)
    assert figure(page, "#balance .figure") == balance(site, user_id)["current_balance"] == after
    acts = logged(site, user_id)
    assert act in {row.act for row in acts}
    newest = [row for row in acts if row.act != "user_created"]
    assert {row.actor for row in newest} == {actor(site)}
    assert any(row.details.get("reason") == f"{HOSTILE} said so" for row in newest)


def test_an_event_is_refunded_in_parts_then_not_more(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {409}
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}/events/{new_event(site, user_id)}")
    fill(page, "Refund", amount="10", reason="slow")
    assert foreseen(page) == (70, 80)
    confirm(page, "Refunded 10 credits.")
    assert figure(page, "#refunded") == 10
    fill(page, "Refund", amount="20.1", reason="slow")
    page.get_by_text("cannot exceed what was charged").wait_for()
    page.locator("#act [name=amount]").fill("")
    page.locator("#act button").click()
    assert foreseen(page) == (80, 100)
    confirm(page, "Refunded 20 credits.")
    assert balance(site, user_id)["current_balance"] == 100
    assert [(row.act, row.actor) for row in logged(site, user_id)[:2]] == [("refund", actor(site))] * 2
    fill(page, "Void", reason="never was")
    page.get_by_text("This event was refunded").wait_for()


def test_an_event_is_voided(admin: Visitor, site: Site) -> None:
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}/events/{new_event(site, user_id)}")
    fill(page, "Void", reason="never was")
    assert foreseen(page) == (70, 100)
    confirm(page, "Voided. Given back: 30 credits.")
    assert "never was" in page.locator("#void").inner_text()
    assert balance(site, user_id)["current_balance"] == 100
    assert logged(site, user_id)[0].act == "void"
    assert page.get_by_role("group", name="Acts").count() == 0


def test_pressing_twice_is_once(admin: Visitor, site: Site) -> None:
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, "Grant", amount="50", reason="once")
    page.locator("#preview").wait_for()
    page.evaluate("""async () => {
        const fields = new FormData(document.querySelector('#act'));
        fields.set('confirmed', 'true');
        const send = () => fetch(document.querySelector('#act').getAttribute('hx-post'), {
            method: 'POST', body: new URLSearchParams(fields), headers: {'HX-Request': 'true'}});
        await Promise.all([send(), send(), send()]);
    }""")
    confirm(page, "Granted 50 credits.")
    assert balance(site, user_id)["current_balance"] == 150
    assert [row.act for row in logged(site, user_id)].count("grant") == 1


def test_one_goes_back_and_changes_ones_mind(admin: Visitor, site: Site) -> None:
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}?tz=Asia/Kolkata")
    fill(page, "Grant", amount="50", reason="why", expires_at="2099-12-31T23:59")
    page.locator("#preview").wait_for()
    page.get_by_role("button", name="Back").click()
    page.locator("#act [name=amount]").wait_for()
    assert page.locator("#act [name=amount]").input_value() == "50"
    page.locator("#act [name=amount]").fill("20")
    page.locator("#act button").click()
    assert foreseen(page) == (100, 120)
    confirm(page, "Granted 20 credits.")
    lots = api(site).get(f"/api/v1/admin/users/{user_id}/lots")["lots"]
    assert lots[0]["expires_at"].startswith("2099-12-31T23:59")  # the form was UTC's: its address has no zone


def test_a_panel_that_is_closed_keeps_nothing_of_its_form(admin: Visitor, site: Site) -> None:
    """Taken out: the emptying in app.js; then the form of the act before is there until the next one has come."""
    page = admin.goto(f"/ui/users/{new_user(site)}")
    page.get_by_role("link", name="Grant", exact=True).click()
    page.locator("#panel #act").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator("#panel-body > *")).to_have_count(0)


def test_what_is_wrong_is_told_at_its_field(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {422}
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, "Grant", amount="0", priority="101", reason="why")
    page.get_by_text("must not be 0").wait_for()
    assert page.locator("#act-amount").get_attribute("aria-describedby") == "act-amount-said"
    assert "from 0 to 100" in page.locator("#act-priority-said").inner_text()
    assert admin.violations() == []
    page.keyboard.press("Escape")
    fill(page, "Adjust", amount="-1", expires_at="2099-01-01T00:00", reason="why")
    page.get_by_text("Only credits that are given can expire.").wait_for()
    page.keyboard.press("Escape")
    fill(page, "Terms", reason="why")
    page.get_by_text("Nothing is to change").wait_for()
    page.keyboard.press("Escape")
    past = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    fill(page, "Grant", amount="1", expires_at=past, reason="why")
    page.get_by_text("would expire before they could be used").wait_for()
    assert balance(site, user_id)["current_balance"] == 100


def test_refusals_are_told_in_plain_words(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {409}
    user_id = new_user(site)
    new_event(site, user_id)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, "Demo mode on", reason="why")
    page.locator("#act [role=alert]").wait_for()
    assert "demo mode" in page.locator("#act [role=alert]").inner_text()
    assert page.locator("#preview").count() == 0
    demo = new_user(site, demo_mode=True)
    page = admin.goto(f"/ui/users/{demo}/grant")
    page.locator("#act-amount").fill("1")
    page.locator("#act-reason").fill("why")
    page.locator("#act button").click()
    page.get_by_text("A user in demo mode has no balance").wait_for()


def test_a_key_that_was_used_for_something_else_is_refused(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {409}
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}/grant")
    key = page.locator("#act [name=key]").input_value()

    async def use_key(ledger: Ledger) -> None:
        await adjust_credits(
            ledger, Adjustment(user_id=user_id, key=key, amount=Decimal(1), reason="other", actor="tests")
        )

    site.ask(use_key)
    page.locator("#act-amount").fill("1")
    page.locator("#act-reason").fill("why")
    page.locator("#act button").click()
    page.get_by_text("used before for something else").wait_for()


def test_demo_mode_ends_and_the_balance_opens(admin: Visitor, site: Site) -> None:
    user_id = new_user(site, demo_mode=True)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, "Demo mode off", reason="has signed up")
    page.locator("#preview").wait_for()
    confirm(page, "Demo mode is off.")
    assert figure(page, "#balance .figure") == balance(site, user_id)["current_balance"] == 100
    assert [row.details.get("reason") for row in logged(site, user_id) if row.act == "reason"] == ["has signed up"]


def test_somebody_becomes_an_administrator_and_is_one_no_more(admin: Visitor, site: Site) -> None:
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, "Administrator", reason="joins us")
    confirm(page, "This user is now an administrator.")
    assert api(site).get(f"/api/v1/admin/users/{user_id}")["user"]["is_admin"]
    fill(page, "No administrator", reason="leaves us")
    confirm(page, "no longer an administrator")
    assert not api(site).get(f"/api/v1/admin/users/{user_id}")["user"]["is_admin"]


def test_the_last_administrator_stays_one(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {409}
    others = ask(
        site.address, "UPDATE users SET is_admin = false WHERE is_admin AND email <> %s RETURNING id", (ADMIN,)
    )
    try:
        page = admin.goto(f"/ui/users/{ADMIN}")
        fill(page, "No administrator", reason="by mistake")
        page.get_by_text("This user is the only administrator").wait_for()
    finally:
        ask(site.address, "UPDATE users SET is_admin = true WHERE id = ANY(%s)", ([each for (each,) in others],))


def test_who_somebody_was_is_taken_out_once_the_id_is_typed(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {422}
    user_id = new_user(site, full_name="To Be Forgotten")
    new_event(site, user_id)
    page = admin.goto(f"/ui/users/{user_id}")
    fill(page, "Anonymise", confirm=str(user_id + 1))
    page.get_by_text("must be this user's id").wait_for()
    page.locator("#act-confirm").fill(str(user_id))
    page.locator("#act button").click()
    confirm(page, "no longer known")
    text = page.locator("main").inner_text()
    assert "To Be Forgotten" not in text
    assert "@users.invalid" in text
    assert figure(page, "#balance .figure") == 70
    assert page.get_by_role("group", name="Acts").count() == 0
    assert logged(site, user_id)[0].act == "anonymise"


def test_a_token_is_shown_once_works_and_is_taken_away(admin: Visitor, site: Site) -> None:
    user_id = new_user(site)
    page = admin.goto(f"/ui/users/{user_id}?part=tokens")
    page.get_by_role("link", name="Create a token").click()
    page.locator("#act-name").fill(f"{HOSTILE}"[:100])
    page.locator("#act-lifetime_days").fill("7")
    page.locator("#act-reason").fill("asked for one")
    page.locator("#act button").click()
    page.get_by_role("button", name="Confirm").click()
    page.locator("#new-token").wait_for()
    token = page.locator("#new-token").inner_text()
    assert admin.violations() == []
    client = api(site)
    mine = type(client)(client.url, token)
    assert mine.get("/api/v1/me/credits")["current_balance"] == 100
    page.locator("#act").get_by_role("link", name="Done").click()
    page.get_by_role("link", name="Revoke").wait_for()
    assert token not in page.content()
    is_harmless(page, HOSTILE[:100])
    page.get_by_role("link", name="Revoke").click()
    page.locator("#act-reason").fill("lost")
    page.locator("#act button").click()
    confirm(page, "The token works no more.")
    with pytest.raises(AssertionError, match="unauthorized"):
        mine.get("/api/v1/me/credits")
    acts = [row.act for row in logged(site, user_id)]
    assert acts[:4] == ["reason", "token_revoked", "reason", "token_created"]


def test_a_token_of_somebody_else_is_not_revoked(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {404}
    user_id, other_id = new_user(site), new_user(site)

    async def make(ledger: Ledger) -> int:
        return (await create_token(ledger, name="t", user_id=other_id)).row.id

    page = admin.goto(f"/ui/users/{user_id}/tokens/{site.ask(make)}/revoke")
    page.locator("#act-reason").fill("why")
    page.locator("#act button").click()
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("This user has no such token.").wait_for()
    assert "token_revoked" not in {row.act for row in logged(site, other_id)}


def test_one_sees_the_acts_that_one_may_do(visit: Callable[..., Visitor], site: Site) -> None:
    user_id = new_user(site)
    event_id = new_event(site, user_id)

    async def sign_in(ledger: Ledger, scopes: tuple[Scope, ...]) -> str:
        made = await create_token(ledger, name="support", scopes=[Scope.REPORTS_READ, *scopes])
        return await sign_in_by_token(ledger, made.token, user_agent="tests")

    may: list[tuple[tuple[Scope, ...], list[str], list[str]]] = [
        ((), [], []),
        ((Scope.GRANTS_WRITE,), ["Grant", "Adjust"], ["Refund"]),
    ]
    for scopes, acts, of_event in may:
        somebody = visit(email=None)
        secret = site.ask(partial(sign_in, scopes=scopes))
        somebody.context.add_cookies([{"name": "groat_session", "value": secret, "url": site.url}])
        page = somebody.goto(f"/ui/users/{user_id}")
        assert page.locator("[aria-label=Acts] a").all_inner_texts() == acts
        assert page.get_by_role("link", name="Tokens").count() == 0
        page = somebody.goto(f"/ui/users/{user_id}/events/{event_id}")
        assert page.locator("[aria-label=Acts] a").all_inner_texts() == of_event
    fill(page, "Refund", amount="1", reason="by a service")
    assert foreseen(page) == (70, 71)
    confirm(page, "Refunded 1 credit.")
    assert logged(site, user_id)[0].actor.startswith("token:")


def test_what_has_changed_meanwhile_is_refused_at_the_end(admin: Visitor, site: Site) -> None:
    admin.expected_statuses = {409}
    user_id = new_user(site)
    event_id = new_event(site, user_id)
    page = admin.goto(f"/ui/users/{user_id}/events/{event_id}")
    fill(page, "Refund", reason="all of it")
    assert foreseen(page) == (70, 100)

    async def refund(ledger: Ledger) -> None:
        await refund_event(
            ledger, Refund(user_id=user_id, key="first", event_id=event_id, reason="first", actor="tests")
        )

    site.ask(refund)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Of this event nothing is left to refund.").wait_for()
    assert balance(site, user_id)["current_balance"] == 100
