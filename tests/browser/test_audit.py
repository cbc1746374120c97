"""The page of the audit log, in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from groat_server.operations.prices import set_price
from groat_server.operations.tokens import create_token
from groat_server.operations.users import create_user
from tests.browser.pages import HOSTILE, api, cells, hostile_user, is_harmless, looks_right, told

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger
    from tests.browser.conftest import Site, Visitor

_ACTOR = f"tests {HOSTILE}"


async def _many(ledger: Ledger) -> int:
    """Do more than a page of acts, concerning one user; return the id."""
    user = await create_user(ledger, f"{uuid4()}@example.com", actor=_ACTOR)
    for _ in range(55):
        await create_token(ledger, name="t", user_id=user.id, actor=_ACTOR)
    return user.id


def test_the_audit_log_looks_right(admin: Visitor) -> None:
    looks_right(admin, "/ui/audit", "audit")


def _keys(rows: list[list[str]]) -> list[tuple[str, ...]]:
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def test_the_acts_are_those_of_the_api_page_by_page(admin: Visitor, site: Site) -> None:
    user_id = site.ask(_many)
    page = admin.goto(f"/ui/audit?user={user_id}")
    answer = api(site).get("/api/v1/admin/audit", user=user_id)
    for number in (50, 6):
        expected = [
            (str(act["id"]), act["recorded_at"].replace("Z", "+00:00"), act["act"], act["actor"])
            for act in answer["acts"]
        ]
        assert len(expected) == number
        assert _keys(cells(page, "#acts")) == expected
        if number == 50:
            assert [act[0] for act in expected] == [
                str(row["id"]) for row in told(site, "audit-log", user=user_id, limit=50)
            ]
            page.get_by_role("link", name="Next").click()
            page.wait_for_url("**cursor=*")
            answer = api(site).get("/api/v1/admin/audit", user=user_id, cursor=answer["next_cursor"])
    assert page.get_by_role("link", name="Next").count() == 0
    page.get_by_role("link", name="To the first").click()
    page.wait_for_url(f"**/ui/audit?user={user_id}")


def test_filters_stand_in_the_address(admin: Visitor, site: Site) -> None:
    site.ask(_many)
    page = admin.goto("/ui/audit")
    page.get_by_role("textbox", name="Act").fill("user_created")
    page.get_by_label("By").fill(_ACTOR)
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**act=user_created*")
    expected = api(site).get("/api/v1/admin/audit", act="user_created", actor=_ACTOR)["acts"]
    assert [row[0] for row in cells(page, "#acts")] == [str(act["id"]) for act in expected] != []
    assert page.get_by_label("By").input_value() == _ACTOR


def test_the_details_are_those_of_the_api(admin: Visitor, site: Site) -> None:
    page = admin.goto("/ui/audit?act=token_created")
    expected = api(site).get("/api/v1/admin/audit", act="token_created")["acts"]
    shown = page.evaluate(
        "() => [...document.querySelectorAll('#acts .details')].map((list) => Object.fromEntries("
        "[...list.querySelectorAll('dt')].map((dt) => [dt.innerText, dt.nextElementSibling.innerText])))"
    )
    assert [(each["token_id"], each["prefix"]) for each in shown] == [
        (str(act["details"]["token_id"]), act["details"]["prefix"]) for act in expected
    ]


def test_hostile_texts_are_texts_on_the_audit_log(admin: Visitor, site: Site) -> None:
    user = hostile_user(site)

    async def act(ledger: Ledger) -> None:
        async with ledger.database.act(_ACTOR) as connection:
            await set_price(connection, kind="model", name=HOSTILE, provider=HOSTILE, rates={"input": 1}, note=HOSTILE)

    site.ask(act)
    page = admin.goto("/ui/audit?act=price_set")
    is_harmless(page, HOSTILE)
    page = admin.goto(f"/ui/audit?user={user.user_id}")
    is_harmless(page, user.email)
