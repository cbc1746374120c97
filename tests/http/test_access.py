"""Who may do what: each route with each kind of token, against a table; what is taken away is gone at once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest

from groat_server.core.scopes import Scope
from groat_server.operations.ledger import open_ledger
from groat_server.operations.tokens import create_token
from groat_server.operations.users import find_user
from tests.http.api import new_key
from tests.http.examples import Examples
from tests.http.test_hostile_inputs import DOCUMENT, send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from groat_server.database import Address
    from tests.http.api import Api
    from tests.services import Service

pytestmark = pytest.mark.anyio

PUBLIC = "public"
ANYBODY = "any valid token"
"""But for those that were made for the address for spreadsheets: see test_sheets.py."""

USERS = "any user's token"

POLICIES: Mapping[tuple[str, str], str] = {
    ("POST", "/api/v1/usage"): Scope.USAGE_WRITE,
    ("POST", "/api/v1/usage/batch"): Scope.USAGE_WRITE,
    ("POST", "/api/v1/estimate"): ANYBODY,
    ("POST", "/api/v1/holds"): Scope.USAGE_WRITE,
    ("GET", "/api/v1/holds/{hold_id}"): Scope.USAGE_WRITE,
    ("POST", "/api/v1/holds/{hold_id}/capture"): Scope.USAGE_WRITE,
    ("POST", "/api/v1/holds/{hold_id}/release"): Scope.USAGE_WRITE,
    ("POST", "/api/v1/holds/{hold_id}/renew"): Scope.USAGE_WRITE,
    ("POST", "/api/v1/admin/grants"): Scope.GRANTS_WRITE,
    ("POST", "/api/v1/admin/adjustments"): Scope.GRANTS_WRITE,
    ("POST", "/api/v1/admin/refunds"): Scope.GRANTS_WRITE,
    ("POST", "/api/v1/admin/voids"): Scope.ADMIN,
    ("GET", "/api/v1/admin/users/{user}/lots"): Scope.BALANCE_READ,
    ("GET", "/api/v1/admin/users/{user}/ledger"): Scope.BALANCE_READ,
    ("GET", "/api/v1/admin/users/{user}/holds"): Scope.BALANCE_READ,
    ("GET", "/api/v1/admin/users/{user}/events/{event_id}/explain"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/credits/overview"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/credits/users"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/credits/user/{user}"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/credits/top-consumers"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/credits/daily-trend"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/credits/user/{user}/balance"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/reports"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/reports/{name}"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/checks"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/checks/{check}"): Scope.REPORTS_READ,
    ("GET", "/api/v1/admin/users/{user}/statement"): Scope.REPORTS_READ,
    ("POST", "/api/v1/admin/users"): Scope.ADMIN,
    ("GET", "/api/v1/admin/users"): Scope.ADMIN,
    ("GET", "/api/v1/admin/users/{user}"): Scope.BALANCE_READ,
    ("PATCH", "/api/v1/admin/users/{user}"): Scope.ADMIN,
    ("POST", "/api/v1/admin/users/{user}/tokens"): Scope.ADMIN,
    ("POST", "/api/v1/admin/users/{user}/anonymise"): Scope.ADMIN,
    ("GET", "/api/v1/admin/audit"): Scope.ADMIN,
    ("GET", "/api/v1/admin/tokens"): Scope.ADMIN,
    ("POST", "/api/v1/admin/tokens"): Scope.ADMIN,
    ("POST", "/api/v1/admin/tokens/{token_id}/rotate"): Scope.ADMIN,
    ("DELETE", "/api/v1/admin/tokens/{token_id}"): Scope.ADMIN,
    ("GET", "/api/v1/me/credits"): USERS,
    ("GET", "/api/v1/me/events"): USERS,
    ("GET", "/api/v1/me/statement"): USERS,
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
}
NOBODY = {
    "no token": None,
    "a token that nobody has": f"Bearer groat_{secrets.token_urlsafe(32)}",
    "no scheme": "groat_abc",
    "another scheme": "Basic YTpi",
    "a scheme alone": "Bearer",
    "two words after the scheme": "Bearer a b",
    "a token of another alphabet": "Bearer \xff\xfe",
    "a very long token": "Bearer " + "x" * 10_000,
}


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, and what it gives."""

    token: str
    is_user: bool
    scopes: frozenset[Scope] = frozenset()


@dataclass(frozen=True)
class Cast:
    """Everybody who calls in these tests."""

    valid: Mapping[str, Caller]
    invalid: Mapping[str, str]


@pytest.fixture(scope="module")
def examples(api: Api) -> Examples:
    """Make good requests of the running service."""
    return Examples(api)


@pytest.fixture(scope="module")
async def cast(api: Api, shared_ledger: Address) -> Cast:
    """Make a token of each kind."""
    every = frozenset(Scope)
    promoted, demoted = api.new_user(), api.new_user(is_admin=True)
    valid: dict[str, Caller] = {
        "regular": Caller(api.new_token(api.new_user()), is_user=True),
        "promoted by SQL": Caller(api.new_token(promoted), is_user=True, scopes=every),
        "demoted by SQL": Caller(api.new_token(demoted), is_user=True),
        "admin": Caller(api.new_token(api.new_user(is_admin=True)), is_user=True, scopes=every),
    }
    for scope in Scope:
        valid[scope.value] = Caller(api.new_service_token(scope), is_user=False, scopes=frozenset({scope}))
    set_admin(shared_ledger, promoted, is_admin=True)
    set_admin(shared_ledger, demoted, is_admin=False)
    revoked = api.post(f"/api/v1/admin/users/{promoted}/tokens", {}).body
    api.delete(f"/api/v1/admin/tokens/{revoked['details']['id']}")
    async with open_ledger(shared_ledger, provider_durability=True) as ledger:
        user_id = await find_user(ledger, promoted)
        expired = await create_token(ledger, name="old", user_id=user_id, lifetime=timedelta(seconds=-1))
    return Cast(valid, {"expired": expired.token, "revoked": revoked["token"]})


def set_admin(address: Address, email: str, *, is_admin: bool) -> None:
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("UPDATE users SET is_admin = %s WHERE email = %s", (is_admin, email))


def allowed(policy: str, caller: Caller) -> bool:
    match policy:
        case "public":
            return True
        case "any valid token":
            return caller.is_user or caller.scopes != {Scope.SHEETS_READ}
        case "any user's token":
            return caller.is_user
        case _:
            return Scope(policy) in caller.scopes


def test_every_route_has_a_policy() -> None:
    assert {(method, path) for method, path, _ in DOCUMENT.operations()} == POLICIES.keys()


@pytest.mark.parametrize(("method", "path"), POLICIES)
async def test_each_route_takes_those_whom_its_policy_names(
    api: Api, examples: Examples, cast: Cast, method: str, path: str
) -> None:
    policy = POLICIES[method, path]
    for name, caller in cast.valid.items():
        response = send(api.with_token(caller.token).client, examples.request(method, path))
        if allowed(policy, caller):
            assert response.is_success, (name, response.text)
        else:
            assert (response.status_code, response.json()["code"]) == (403, "forbidden"), (name, response.text)


@pytest.mark.parametrize(("method", "path"), POLICIES)
async def test_each_route_but_the_probes_needs_a_valid_token(
    api: Api, examples: Examples, cast: Cast, method: str, path: str
) -> None:
    request = examples.request(method, path)
    callers = {**NOBODY, **{name: f"Bearer {token}" for name, token in cast.invalid.items()}}
    with httpx2.Client(base_url=api.url) as client:
        for name, header in callers.items():
            client.headers = httpx2.Headers([] if header is None else [(b"Authorization", header.encode("latin-1"))])
            response = send(client, request)
            if POLICIES[method, path] == PUBLIC:
                assert response.is_success, name
                continue
            assert (response.status_code, response.headers.get("www-authenticate")) == (401, "Bearer"), name
            assert response.json()["code"] == "unauthorized"
            assert not header or header == "Bearer" or header.removeprefix("Bearer ") not in response.text


@pytest.mark.parametrize(("method", "path"), [route for route, policy in POLICIES.items() if policy != PUBLIC])
def test_nobody_without_the_right_learns_what_is_wrong_with_a_request(api: Api, method: str, path: str) -> None:
    stranger = api.with_token(None)
    for target in (path, path.replace("{user}", "nobody@example.com").replace("{token_id}", "x") + "?days=0"):
        assert stranger.send(method, target, b"{", headers={"Content-Type": "application/json"}).code[0] == 401


def test_rights_follow_the_database_at_the_next_request(api: Api, shared_ledger: Address) -> None:
    email = api.new_user()
    client = api.with_token(api.new_token(email))
    route = "/api/v1/admin/credits/overview"
    assert client.get(route).status == 403
    set_admin(shared_ledger, email, is_admin=True)
    assert client.get(route).status == 200
    set_admin(shared_ledger, email, is_admin=False)
    assert client.get(route).status == 403
    assert api.patch(f"/api/v1/admin/users/{email}", {"is_admin": True}).status == 200
    assert client.get(route).status == 200
    assert api.patch(f"/api/v1/admin/users/{email}", {"is_admin": False}).status == 200
    assert client.get(route).status == 403


def test_a_revoked_token_ends_at_the_next_request_and_others_do_not(api: Api) -> None:
    email = api.new_user()
    made = api.post(f"/api/v1/admin/users/{email}/tokens", {}).body
    client, other = api.with_token(made["token"]), api.with_token(api.new_token(email))
    assert client.get("/api/v1/me/credits").status == 200
    assert api.delete(f"/api/v1/admin/tokens/{made['details']['id']}").status == 204
    assert client.get("/api/v1/me/credits").status == 401
    assert other.get("/api/v1/me/credits").status == 200


def test_nobody_sees_another_users_account(api: Api) -> None:
    mine, others = api.new_user(), api.new_user()
    api.charge(others, description="not yours")
    client = api.with_token(api.new_token(mine))
    assert client.get("/api/v1/me/credits").body["email"] == mine
    assert client.get("/api/v1/me/events").body == {"events": [], "count": 0, "next_cursor": None}
    foreign, absent = (client.get(f"/api/v1/admin/users/{name}") for name in (others, "nobody@example.com"))
    assert foreign.status == absent.status == 403
    assert {**foreign.body, "request_id": ""} == {**absent.body, "request_id": ""}


def test_what_is_absent_answers_one_way(api: Api) -> None:
    routes = ["/api/v1/admin/users/{}", "/api/v1/admin/credits/user/{}"]
    answers = [api.get(route.format(name)) for route in routes for name in ("nobody@example.com", "999999999")]
    assert {answer.code for answer in answers} == {(404, "unknown_user")}
    assert api.delete("/api/v1/admin/tokens/999999999").code == (404, "unknown_token")


def test_a_cost_of_the_callers_own_needs_the_right_to_set_prices(api: Api) -> None:
    user = api.new_user()
    writer = api.with_token(api.new_service_token("usage:write"))
    pricer = api.with_token(api.new_service_token("usage:write", "usage:price"))
    use = {"user": user, "action_type": "chat", "api_cost": "0.5", "idempotency_key": new_key()}
    assert writer.post("/api/v1/usage", use).code == (403, "forbidden")
    (result,) = writer.post("/api/v1/usage/batch", {"events": [use]}).body["results"]
    assert result["outcome"] == "invalid"
    assert api.balance(user) == 100
    assert pricer.post("/api/v1/usage", use).status == 201
    assert api.balance(user) == 95


def test_a_backfill_needs_an_administrator(api: Api) -> None:
    user = api.new_user()
    old: dict[str, Any] = {"occurred_at": "2026-01-01T00:00:00Z", "backfill": True}
    writer = api.with_token(api.new_service_token("usage:write"))
    administrator = api.with_token(api.new_service_token("usage:write", "admin"))
    assert writer.charge(user, **old).code == (403, "forbidden")
    assert administrator.charge(user, **old).status == 201
    assert api.balance(user) == 99


def test_no_field_sets_what_a_route_does_not_list(api: Api) -> None:
    user = api.new_user()
    for field in ("credits_charged", "balance", "is_admin", "user_id", "created_at"):
        assert api.charge(user, None, 1, **{field: 0}).code == (422, "unprocessable")
    for field in ("current_balance", "id", "version", "anonymised_at"):
        assert api.patch(f"/api/v1/admin/users/{user}", {field: 10**6}).code == (422, "unprocessable")
    assert api.balance(user) == 100


def test_secrets_are_nowhere_but_in_the_answer_that_made_them(
    api: Api, cast: Cast, service: Service, shared_ledger: Address
) -> None:
    user = api.new_user()
    tokens = [*cast.invalid.values(), *(caller.token for caller in cast.valid.values()), api.new_token(user)]
    for token in tokens:
        api.with_token(token).get("/api/v1/me/credits")
        api.with_token(token).get(f"/api/v1/admin/users/{user}")
        api.with_token(token).get(f"/api/v1/admin/users/{token}")
    told = {"log": service.log.read_text(), "list": str(api.get("/api/v1/admin/tokens").texts)}
    told |= stored(shared_ledger)
    assert '"status": 401' in told["log"]
    for place, text in told.items():
        found = [token for token in tokens if token in text or token.removeprefix("groat_") in text]
        assert not found, place
    assert user not in told["log"]


def stored(address: Address) -> dict[str, str]:
    """Return all that the database has, as text, by table."""
    with psycopg.connect(address.url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert ("access_tokens",) in tables
        return {
            table: str(connection.execute(f"SELECT json_agg(t)::text FROM {table} t".encode()).fetchone())  # noqa: S608 - names of our own tables
            for (table,) in tables
        }
