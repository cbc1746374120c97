"""People and access on the wire: terms, anonymisation, the last administrator, rotation of tokens, the audit log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import fresh_ledger
from tests.http.api import Api, new_key
from tests.operations.ledgers import ask
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from groat_server.database import Address
    from groat_server.embedded import Server

USERS = "/api/v1/admin/users"
TOKENS = "/api/v1/admin/tokens"
AUDIT = "/api/v1/admin/audit"


def user_id(api: Api, email: str) -> int:
    number: int = api.get(f"{USERS}/{email}").body["user"]["id"]
    return number


# --- terms ------------------------------------------------------------------------------------------------------------


def test_credits_that_move_need_a_key_and_move_once_under_it(api: Api) -> None:
    email = api.new_user(monthly_allowance=10)
    now = {"monthly_allowance": 30, "effective": "now"}
    assert api.patch(f"{USERS}/{email}", now).code == (400, "idempotency_key_required")
    first = api.patch(f"{USERS}/{email}", {**now, "idempotency_key": "raise"})
    again = api.call("PATCH", f"{USERS}/{email}", now, headers={"Idempotency-Key": "raise"})
    assert (first.body["balance"]["current_balance"], again.body["balance"]["current_balance"]) == (30, 30)
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    other = {**now, "monthly_allowance": 40, "full_name": "Not kept", "idempotency_key": "raise"}
    assert api.patch(f"{USERS}/{email}", other).code == (409, "idempotency_conflict")
    told = api.get(f"{USERS}/{email}").body
    assert (told["balance"]["monthly_allowance"], told["user"]["full_name"]) == (30, None)


def test_terms_are_changed_at_once_and_told(api: Api) -> None:
    email = api.new_user(monthly_allowance=10)
    told = api.patch(f"{USERS}/{email}", {"overdraft_limit": "5.5", "rollover_cap": 3}).body["balance"]
    assert (float(told["overdraft_limit"]), told["rollover_cap"], float(told["available"])) == (5.5, 3, 15.5)
    assert api.charge(email, credits_=15, mode="enforce").status == 201
    assert api.charge(email, credits_=1, mode="enforce").status == 402
    demo = api.new_user(demo_mode=True)
    assert api.patch(f"{USERS}/{demo}", {"overdraft_limit": 1}).code == (409, "demo_mode")
    (act,) = api.get(AUDIT, user=email, act="terms").body["acts"]
    assert (float(act["details"]["overdraft_limit"]), act["details"]["rollover_cap"]) == (5.5, 3)


def test_a_new_zone_and_anchor_count_after_the_present_period(api: Api) -> None:
    email = api.new_user()
    before = api.get(f"{USERS}/{email}").body["balance"]["next_reset_at"]
    change = {"time_zone": "Asia/Tokyo", "period_anchor": "2026-01-15T00:00:00+09:00"}
    told = api.patch(f"{USERS}/{email}", change).body
    assert (told["user"]["time_zone"], told["user"]["period_anchor"]) == ("Asia/Tokyo", "2026-01-14T15:00:00Z")
    assert told["balance"]["next_reset_at"] == before
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert api.patch(f"{USERS}/{email}", {"period_anchor": tomorrow}).code == (422, "unprocessable")


# --- anonymisation ----------------------------------------------------------------------------------------------------


def test_a_user_is_anonymised_where_that_is_confirmed_and_found_by_id_alone(api: Api) -> None:
    email = api.new_user(full_name="Canary Bird", external_id=new_key())
    token = api.new_token(email)
    number = user_id(api, email)
    api.charge(email, credits_=3, description="canary")
    route = f"{USERS}/{email}/anonymise"
    for body in ({"confirm": number + 1}, {"confirm": str(number)}, {"confirm": True}, {}):
        assert api.post(route, body).status == 422
    assert api.post(route, {"confirm": number + 1}).code == (422, "not_confirmed")
    told = api.post(route, {"confirm": number})
    assert (told.status, told.body["user"]["id"], told.body["user"]["full_name"]) == (200, number, None)
    assert told.body["user"]["anonymised_at"] is not None
    assert told.body["balance"]["current_balance"] == 97
    assert api.post(route, {"confirm": number}).code == (404, "unknown_user")
    again = api.post(f"{USERS}/{number}/anonymise", {"confirm": number})
    assert (again.status, again.body) == (200, told.body)
    assert api.get(f"{USERS}/{number}").body == told.body
    assert api.with_token(token).get("/api/v1/me/credits").status == 401
    assert api.charge(number).code == (404, "unknown_user")
    assert api.post(f"{USERS}/{number}/tokens", {}).code == (404, "unknown_user")
    assert api.patch(f"{USERS}/{number}", {"full_name": "Canary Bird"}).code == (404, "unknown_user")
    (act,) = api.get(AUDIT, user=number, act="anonymise").body["acts"]
    assert act["actor"].startswith("token:")
    assert api.new_user() != api.post(USERS, {"email": email}).body["user"]["email"] == email


# --- the last administrator -------------------------------------------------------------------------------------------


def test_the_last_administrator_is_not_removed(server: Server, template: str, tmp_path: Path) -> None:
    with (
        fresh_ledger(server, template) as address,
        serving(address, tmp_path) as (service,),
        Api.as_admin(service.url, address) as api,
    ):
        ((email, number),) = ask(address, "SELECT email, id FROM users")
        assert api.patch(f"{USERS}/{email}", {"is_admin": False}).code == (409, "last_admin")
        assert api.post(f"{USERS}/{email}/anonymise", {"confirm": number}).code == (409, "last_admin")
        other = api.new_user(is_admin=True)
        assert api.patch(f"{USERS}/{other}", {"is_admin": False}).status == 200
        assert api.patch(f"{USERS}/{other}", {"is_admin": True}).status == 200
        assert api.patch(f"{USERS}/{email}", {"is_admin": False}).status == 200
        assert api.get(USERS).status == 403


# --- tokens -----------------------------------------------------------------------------------------------------------


def _listed(api: Api) -> Mapping[int, dict[str, Any]]:
    return {row["id"]: row for row in api.get(TOKENS).body["tokens"]}


def test_a_rotated_token_works_beside_the_new_one_for_as_long_as_was_said(api: Api, shared_ledger: Address) -> None:
    """Taken out: `replaced_by IS NULL` in rotate.sql; then a token has two successors."""
    email = api.new_user()
    made = api.post(f"{USERS}/{email}/tokens", {"name": "laptop", "lifetime_days": 30}).body
    rotated = api.post(f"{TOKENS}/{made['details']['id']}/rotate", {})
    assert rotated.status == 201
    details = rotated.body["details"]
    assert (details["name"], details["email"], details["expires_in_days"]) == ("laptop", email, 30)
    for token in (made["token"], rotated.body["token"]):
        assert api.with_token(token).get("/api/v1/me/credits").status == 200
    old = _listed(api)[made["details"]["id"]]
    assert (old["replaced_by"], old["expires_in_days"]) == (details["id"], 0)
    assert api.post(f"{TOKENS}/{made['details']['id']}/rotate", {}).code == (404, "unknown_token")
    ask(shared_ledger, "UPDATE access_tokens SET expires_at = now() WHERE id = %s", [made["details"]["id"]])
    assert api.with_token(made["token"]).get("/api/v1/me/credits").status == 401
    assert api.with_token(rotated.body["token"]).get("/api/v1/me/credits").status == 200


def test_a_services_token_is_rotated_with_its_scopes_and_at_once_without_grace(api: Api) -> None:
    made = api.post(TOKENS, {"name": "app", "scopes": ["usage:write", "balance:read"]}).body
    route = f"{TOKENS}/{made['details']['id']}/rotate"
    bad: list[dict[str, object]] = [{"grace_hours": -1}, {"grace_hours": 721}, {"grace_hours": 1.0}, {"scopes": []}]
    for body in (*bad, {"lifetime_days": 0}):
        assert api.post(route, body).code == (422, "unprocessable")
    rotated = api.post(route, {"grace_hours": 0, "lifetime_days": 90}).body
    assert (rotated["details"]["scopes"], rotated["details"]["expires_in_days"]) == (made["details"]["scopes"], 90)
    user = api.new_user()
    assert api.with_token(made["token"]).get(f"{USERS}/{user}").status == 401
    assert api.with_token(rotated["token"]).get(f"{USERS}/{user}").status == 200
    for gone in (made["details"]["id"], 10**9):
        assert api.post(f"{TOKENS}/{gone}/rotate", {}).code == (404, "unknown_token")
    api.delete(f"{TOKENS}/{rotated['details']['id']}")
    assert api.post(f"{TOKENS}/{rotated['details']['id']}/rotate", {}).code == (404, "unknown_token")


@pytest.mark.parametrize(("lifetime", "days"), [(None, None), (1, 0), (8, 7)])
def test_the_list_tells_which_tokens_are_about_to_end(api: Api, lifetime: int | None, days: int | None) -> None:
    made = api.post(f"{USERS}/{api.new_user()}/tokens", {"lifetime_days": lifetime} if lifetime else {}).body["details"]
    assert _listed(api)[made["id"]]["expires_in_days"] == days
    api.delete(f"{TOKENS}/{made['id']}")
    assert _listed(api)[made["id"]]["expires_in_days"] is None


# --- the audit log ----------------------------------------------------------------------------------------------------


def test_acts_are_listed_with_who_did_them(api: Api) -> None:
    email = api.new_user()
    number = user_id(api, email)
    for name in "abc":
        api.patch(f"{USERS}/{email}", {"full_name": name})
    token = api.post(f"{USERS}/{email}/tokens", {}).body["details"]["id"]
    page = api.get(AUDIT, user=email, limit=3).body
    assert [act["act"] for act in page["acts"]] == ["token_created", "user_changed", "user_changed"]
    rest = api.get(AUDIT, user=number, limit=3, cursor=page["next_cursor"]).body
    assert [act["act"] for act in rest["acts"]] == ["user_changed", "user_created"]
    assert (rest["count"], rest["next_cursor"]) == (2, None)
    assert len({act["actor"] for act in page["acts"] + rest["acts"]}) == 1
    assert page["acts"][0]["details"]["token_id"] == token
    actor = page["acts"][0]["actor"]
    assert api.get(AUDIT, actor=actor, act="token_created", limit=1).body["acts"][0]["details"]["token_id"] == token
    assert api.get(AUDIT, act="no_such_act").body["count"] == 0
    assert api.get(AUDIT, user="nobody@example.com").code == (404, "unknown_user")
    for query in ({"user": "nobody"}, {"limit": 0}, {"cursor": "x"}, {"since": 1}):
        assert api.get(AUDIT, **query).status == 422
