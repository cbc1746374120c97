"""Users, tokens and one's own account on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.http.api import new_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.http.api import Api

USERS = "/api/v1/admin/users"


def new_email() -> str:
    return f"{new_key()}@example.com"


def test_a_new_user_has_what_was_said_and_the_allowance(api: Api) -> None:
    email = new_email()
    fields = {"full_name": "Ann Ümlaut", "external_id": new_key(), "time_zone": "Europe/Berlin", "is_admin": True}
    answer = api.post(USERS, {"email": email, **fields, "monthly_allowance": "12.5"})
    assert answer.status == 201
    assert {name: answer.body["user"][name] for name in ("email", *fields)} == {"email": email, **fields}
    assert answer.texts["balance"]["current_balance"] == answer.texts["balance"]["monthly_allowance"] == "12.5"
    assert api.get(f"{USERS}/{email}").body == api.get(f"{USERS}/{answer.body['user']['id']}").body == answer.body


def test_a_user_without_more_gets_the_default_allowance(api: Api) -> None:
    body = api.post(USERS, {"email": new_email()}).body
    assert body["balance"]["current_balance"] == 100
    assert (body["user"]["demo_mode"], body["user"]["is_admin"], body["user"]["time_zone"]) == (False, False, "UTC")


@pytest.mark.parametrize("form", ["{}", "{} ", "  {}", "{upper}"])
def test_an_address_is_one_address_however_it_is_written(api: Api, form: str) -> None:
    email = new_email()
    api.post(USERS, {"email": email})
    written = form.format(email, upper=email.upper())
    assert api.post(USERS, {"email": written}).code == (409, "email_taken")
    assert api.patch(f"{USERS}/{api.new_user()}", {"email": written}).code == (409, "email_taken")


def test_an_external_id_is_one_users(api: Api) -> None:
    name = new_key()
    api.new_user(external_id=name)
    assert api.post(USERS, {"email": new_email(), "external_id": name}).code == (409, "external_id_taken")


@pytest.mark.parametrize(
    "email", ["", "x", "@", "a@", "@b", "a b@c", "a@b@c", "a" * 65 + "@b", "a@" + "b" * 256, None, 7]
)
def test_what_is_no_address_is_refused(api: Api, email: object) -> None:
    assert api.post(USERS, {"email": email}).code == (422, "unprocessable")


def test_an_address_can_be_changed_and_the_old_one_is_free_again(api: Api) -> None:
    old, new = api.new_user(), new_email()
    answer = api.patch(f"{USERS}/{old}", {"email": new.upper()})
    assert (answer.status, answer.body["user"]["email"]) == (200, new)
    assert api.get(f"{USERS}/{old}").status == 404
    assert api.charge(new.title()).status == 201
    assert api.post(USERS, {"email": old}).status == 201


def test_a_change_changes_what_it_names_and_nothing_else(api: Api) -> None:
    email = api.new_user(full_name="Before", time_zone="Asia/Tokyo")
    before = api.get(f"{USERS}/{email}").body
    after = api.patch(f"{USERS}/{email}", {"full_name": "After"}).body
    assert after == {**before, "user": {**before["user"], "full_name": "After"}}


@pytest.mark.parametrize("body", [{}, {"effective": "now"}, {"external_id": "x"}, {"monthly_allowance": -1}])
def test_a_change_that_is_none_is_refused(api: Api, body: Mapping[str, object]) -> None:
    assert api.patch(f"{USERS}/{api.new_user()}", body).code == (422, "unprocessable")


def test_a_raised_allowance_counts_from_the_next_period_or_at_once(api: Api) -> None:
    email = api.new_user(monthly_allowance=10)
    api.charge(email, credits_=4)
    steps: list[tuple[dict[str, Any], int, int]] = [
        ({"monthly_allowance": 30}, 30, 6),
        ({"monthly_allowance": 30, "effective": "now"}, 30, 26),
        ({"monthly_allowance": 30, "effective": "now"}, 30, 26),
        ({"monthly_allowance": 20, "effective": "now"}, 20, 26),
        ({"monthly_allowance": "40.5", "effective": "now"}, 40, 36),
    ]
    for change, allowance, balance in steps:
        change |= {"idempotency_key": new_key()}
        told = api.patch(f"{USERS}/{email}", change).body["balance"]
        assert (int(told["monthly_allowance"]), int(told["current_balance"])) == (allowance, balance)


def test_demo_mode_is_for_users_without_a_history(api: Api) -> None:
    untouched, used = api.new_user(), api.new_user()
    api.charge(used)
    assert api.patch(f"{USERS}/{used}", {"demo_mode": True}).code == (409, "demo_mode_refused")
    assert api.patch(f"{USERS}/{untouched}", {"demo_mode": True}).body["balance"] is None
    assert api.patch(f"{USERS}/{untouched}", {"monthly_allowance": 5}).code == (409, "demo_mode")
    back = api.patch(f"{USERS}/{untouched}", {"demo_mode": False}).body
    assert back["balance"]["current_balance"] == 100


def test_a_change_that_is_refused_in_part_is_refused_whole(api: Api) -> None:
    email = api.new_user(demo_mode=True, full_name="Before")
    assert api.patch(f"{USERS}/{email}", {"full_name": "After", "monthly_allowance": 5}).status == 409
    assert api.get(f"{USERS}/{email}").body["user"]["full_name"] == "Before"


def test_pages_of_users_have_each_once_and_can_be_searched(api: Api) -> None:
    mark = new_key()
    made = [api.new_user(full_name=f"{mark.upper()} {number}") for number in range(5)]
    found: list[str] = []
    query: dict[str, object] = {"limit": 2, "search": mark}
    while True:
        page = api.get(USERS, **query).body
        found += [row["user"]["email"] for row in page["users"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == made
    assert [row["user"]["email"] for row in api.get(USERS, search=made[0].upper()).body["users"]] == [made[0]]
    assert api.get(USERS, search="%").body["count"] == 0


def test_a_token_is_shown_once_and_listed_without_itself(api: Api) -> None:
    email = api.new_user()
    made = api.post(f"{USERS}/{email}/tokens", {"name": "laptop", "lifetime_days": 7}).body
    assert made["token"].startswith(made["details"]["prefix"])
    assert made["token"] not in str(api.get("/api/v1/admin/tokens").texts)
    assert (made["details"]["email"], made["details"]["name"], made["details"]["scopes"]) == (email, "laptop", [])
    assert made["details"]["expires_at"] is not None
    assert made["details"]["last_used_at"] is None
    api.with_token(made["token"]).get("/api/v1/me/credits")
    listed = {row["id"]: row for row in api.get("/api/v1/admin/tokens").body["tokens"]}
    assert listed[made["details"]["id"]]["last_used_at"] is not None
    api.delete(f"/api/v1/admin/tokens/{made['details']['id']}")
    listed = {row["id"]: row for row in api.get("/api/v1/admin/tokens").body["tokens"]}
    assert listed[made["details"]["id"]]["revoked_at"] is not None


def test_a_services_token_has_the_scopes_it_was_made_with(api: Api) -> None:
    made = api.post("/api/v1/admin/tokens", {"name": "app", "scopes": ["usage:write", "balance:read"]}).body
    assert (made["details"]["email"], sorted(made["details"]["scopes"])) == (None, ["balance:read", "usage:write"])
    for scopes in ([], ["everything"], "admin", None):
        assert api.post("/api/v1/admin/tokens", {"name": "app", "scopes": scopes}).code == (422, "unprocessable")


@pytest.mark.parametrize(("days", "status"), [(1, 201), (3650, 201), (0, 422), (3651, 422), (1.0, 422), ("1", 422)])
def test_a_token_lives_up_to_ten_years(api: Api, days: object, status: int) -> None:
    assert api.post(f"{USERS}/{api.new_user()}/tokens", {"lifetime_days": days}).status == status


def test_users_see_their_own_credits_and_events(api: Api) -> None:
    email = api.new_user()
    for number in range(5):
        api.charge(email, credits_=number, description=f"use {number}")
    mine = api.with_token(api.new_token(email))
    credits_ = mine.get("/api/v1/me/credits").body
    assert (credits_["email"], credits_["tracked"], credits_["current_balance"]) == (email, True, 90)
    assert (credits_["held"], credits_["available"], credits_["total_consumed"]) == (0, 90, 10)
    seen: list[str] = []
    query: dict[str, object] = {"limit": 2}
    while True:
        page = mine.get("/api/v1/me/events", **query).body
        seen += [event["description"] for event in page["events"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [f"use {number}" for number in (4, 3, 2, 1, 0)]


def test_a_user_in_demo_mode_sees_that_there_is_nothing(api: Api) -> None:
    mine = api.with_token(api.new_token(api.new_user(demo_mode=True)))
    body = mine.get("/api/v1/me/credits").body
    assert (body["tracked"], body["current_balance"], body["available"]) == (False, None, None)
    assert mine.get("/api/v1/me/events").body["events"] == []
