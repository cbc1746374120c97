"""Who may open which page and do what there, page by page against a table; and what a session is worth elsewhere.

A new page needs a line in PAGES. Taken out, one after another, to see tests here fail: the check of the scope in
`PageRoute` (each route that takes more than a session), `require_own_page` (each act, by each strange request), the
idle limit and `revoked_at IS NULL` in `sessions/find.sql`, `used_at IS NULL` in `sessions/use_link.sql`,
the check of the path in `_own_path`, HttpOnly in `set_session`.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.routing import Route

from groat_server.core.scopes import Scope
from groat_server.database import Address
from groat_server.http.application import create_app
from groat_server.http.service import Service
from groat_server.operations.ledger import open_ledger
from groat_server.operations.sessions import make_login_link, sign_in_by_token
from groat_server.operations.users import find_user
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.http.api import Api
    from tests.services import Service as RunningService

pytestmark = pytest.mark.anyio

PUBLIC = "public"
SIGNED_IN = "any session"
VIEWER = Scope.REPORTS_READ


@dataclass(frozen=True)
class Line:
    """What a route takes; how its path is filled in for an example that is let in, and which form is sent."""

    policy: str
    example: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)


_USER = {"user": "USER"}
_EVENT = {**_USER, "event_id": "EVENT", "part": "EVENT"}
_NONE = "999999999"

# The forms are empty where the act is not to happen: whoever is let in is told which fields there must be.
PAGES: Mapping[tuple[str, str], Line] = {
    ("GET", "/"): Line(PUBLIC),
    ("GET", "/ui/static/{digest}/{name}"): Line(PUBLIC, {"digest": "0", "name": "none.js"}),
    ("GET", "/ui/login"): Line(PUBLIC),
    ("POST", "/ui/login"): Line(PUBLIC, form={"token": "groat_wrong"}),
    ("GET", "/ui/signed-in"): Line(PUBLIC),
    ("POST", "/ui/logout"): Line(SIGNED_IN),
    ("GET", "/ui/sessions"): Line(Scope.ADMIN),
    ("POST", "/ui/sessions/{session_id}/end"): Line(Scope.ADMIN, {"session_id": _NONE}),
    ("GET", "/ui/export/{name}.{file_format}"): Line(VIEWER, {"name": "users", "file_format": "csv"}),
    ("GET", "/ui/sql/report/{name}"): Line(VIEWER, {"name": "users"}),
    ("GET", "/ui/sql/check/{name}"): Line(VIEWER, {"name": "durable"}),
    ("GET", "/ui/sql/events"): Line(VIEWER),
    ("GET", "/ui/sql/users"): Line(VIEWER),
    ("GET", "/ui/usage"): Line(VIEWER),
    ("GET", "/ui/usage/later"): Line(VIEWER),
    ("GET", "/ui/events"): Line(VIEWER),
    ("GET", "/ui/live"): Line(VIEWER),
    ("GET", "/ui/live/stream"): Line(VIEWER),
    ("GET", "/ui/checks"): Line(VIEWER),
    ("GET", "/ui/checks/{name}"): Line(VIEWER, {"name": "durable"}),
    ("POST", "/ui/checks/{name}/run"): Line(VIEWER, {"name": "durable"}),
    ("GET", "/ui/alerts"): Line(VIEWER),
    ("GET", "/ui/alerts/runway"): Line(VIEWER),
    ("GET", "/ui/prices"): Line(VIEWER),
    ("GET", "/ui/prices/usage"): Line(VIEWER),
    ("GET", "/ui/prices/{kind}/{name:path}"): Line(VIEWER, {"kind": "model", "name:path": "lamp"}),
    ("GET", "/ui/prices/set"): Line(Scope.ADMIN),
    ("POST", "/ui/prices/set"): Line(Scope.ADMIN),
    ("GET", "/ui/tokens"): Line(Scope.ADMIN),
    ("GET", "/ui/tokens/new"): Line(Scope.ADMIN),
    ("POST", "/ui/tokens/new"): Line(Scope.ADMIN),
    ("GET", "/ui/tokens/{token_id}/rotate"): Line(Scope.ADMIN, {"token_id": _NONE}),
    ("POST", "/ui/tokens/{token_id}/rotate"): Line(Scope.ADMIN, {"token_id": _NONE}),
    ("GET", "/ui/tokens/{token_id}/revoke"): Line(Scope.ADMIN, {"token_id": _NONE}),
    ("POST", "/ui/tokens/{token_id}/revoke"): Line(Scope.ADMIN, {"token_id": _NONE}),
    ("GET", "/ui/audit"): Line(Scope.ADMIN),
    ("GET", "/ui/reports"): Line(VIEWER),
    ("GET", "/ui/reports/{name}"): Line(VIEWER, {"name": "users"}),
    ("GET", "/ui/users"): Line(VIEWER),
    ("GET", "/ui/users/new"): Line(Scope.ADMIN),
    ("POST", "/ui/users/new"): Line(Scope.ADMIN),
    ("GET", "/ui/users/{user}"): Line(VIEWER, _USER),
    ("GET", "/ui/users/{user}/sql"): Line(VIEWER, {"user": "USER"}),
    ("GET", "/ui/users/{user}/statement.{kind}"): Line(VIEWER, {**_USER, "kind": "csv"}),
    ("GET", "/ui/users/{user}/events/{event_id}"): Line(VIEWER, _EVENT),
    **{
        (method, f"/ui/users/{{user}}/{act}"): Line(scope, _EVENT)
        for method in ("GET", "POST")
        for act, scope in {
            "grant": Scope.GRANTS_WRITE,
            "adjust": Scope.GRANTS_WRITE,
            "events/{part}/refund": Scope.GRANTS_WRITE,
            "events/{part}/void": Scope.ADMIN,
            "terms": Scope.ADMIN,
            "demo-mode": Scope.ADMIN,
            "administrator": Scope.ADMIN,
            "anonymise": Scope.ADMIN,
            "tokens/new": Scope.ADMIN,
            "tokens/{part}/revoke": Scope.ADMIN,
        }.items()
    },
}

ACTS = [route for route in PAGES if route[0] != "GET"]
OURS = {"Sec-Fetch-Site": "same-origin", "HX-Request": "true"}
STRANGE: Mapping[str, Mapping[str, str]] = {
    "nothing said": {},
    "no origin": {"HX-Request": "true"},
    "no script of ours": {"Sec-Fetch-Site": "same-origin"},
    "another site": {**OURS, "Sec-Fetch-Site": "cross-site"},
    "a neighbour": {**OURS, "Sec-Fetch-Site": "same-site"},
    "typed": {**OURS, "Sec-Fetch-Site": "none"},
    "another origin": {"HX-Request": "true", "Origin": "https://evil.example"},
    "no origin at all": {"HX-Request": "true", "Origin": "null"},
}


def routes() -> set[tuple[str, str]]:
    """Return the dashboard's routes as the application has them."""
    app = create_app(Service(Address("postgresql://")))
    found = {
        (method, route.path)
        for each in app.routes
        for route in getattr(getattr(each, "original_router", None), "routes", [each])
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD"
    }
    return {(method, path) for method, path in found if path == "/" or path.startswith("/ui")}


def test_every_page_has_a_line() -> None:
    assert routes() == PAGES.keys()


HERE = sorted(PAGES.keys() & routes())


@dataclass(frozen=True)
class Visitors:
    """Who is signed in, by the secret of the session; whom pages are about."""

    sessions: Mapping[str, str]
    scopes: Mapping[str, frozenset[Scope]]
    user_id: str
    event_id: str


@pytest.fixture(scope="module")
def visitors(api: Api, shared_ledger: Address) -> Visitors:
    """Sign in one of each kind; who was demoted was an administrator until after that."""
    demoted = api.new_user(is_admin=True)
    scopes: dict[str, frozenset[Scope]] = {
        "admin": frozenset(Scope),
        "viewer": frozenset({VIEWER}),
        "granter": frozenset({VIEWER, Scope.GRANTS_WRITE}),
        "demoted": frozenset(),
    }
    tokens = {
        "admin": api.new_token(api.new_user(is_admin=True)),
        "viewer": api.new_service_token("reports:read"),
        "granter": api.new_service_token("reports:read", "grants:write"),
        "demoted": api.new_token(demoted),
    }
    person = api.new_user()

    async def sign_in() -> tuple[dict[str, str], int]:
        async with open_ledger(shared_ledger, provider_durability=True) as ledger:
            begun = {name: await sign_in_by_token(ledger, token, user_agent=name) for name, token in tokens.items()}
            return begun, await find_user(ledger, person)

    sessions, user_id = asyncio.run(sign_in())
    ask(shared_ledger, "UPDATE users SET is_admin = false WHERE email = %s", (demoted,))
    return Visitors(sessions, scopes, str(user_id), str(api.charge(person).body["id"]))


@contextmanager
def asked(
    service: RunningService,
    visitors: Visitors,
    route: tuple[str, str],
    *,
    session: str | None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[httpx2.Response]:
    """Ask for the example of a route; a stream is not read to its end."""
    method, template = route
    line, path = PAGES[route], template
    for name, value in line.example.items():
        shown = {"USER": visitors.user_id, "EVENT": visitors.event_id}.get(value, value)
        path = path.replace(f"{{{name}}}", shown)
    if path.endswith("/sql"):
        path += "?as_of=2026-01-01T00:00:00Z"
    cookies = {} if session is None else {"groat_session": session}
    given: dict[str, Any] = {} if method == "GET" else {"data": dict(line.form), "headers": OURS}
    given["headers"] = dict(given.get("headers", {}) if headers is None else headers)
    with (
        httpx2.Client(base_url=service.url, cookies=cookies, timeout=60) as client,
        client.stream(method, path, **given) as response,
    ):
        if "event-stream" not in response.headers.get("content-type", ""):
            response.read()
        yield response


def is_let_in(response: httpx2.Response) -> bool:
    """Whether somebody got past the door: to a page, a file, or what was wrong with what was sent."""
    goes_to_login = response.headers.get("location", "").startswith("/ui/login")
    return response.status_code in {200, 303, 400, 404, 409, 422} and not goes_to_login


@pytest.mark.parametrize("route", [route for route in HERE if PAGES[route].policy != PUBLIC], ids=" ".join)
def test_a_page_takes_those_whom_its_line_names(
    service: RunningService, api: Api, visitors: Visitors, shared_ledger: Address, route: tuple[str, str]
) -> None:
    policy = PAGES[route].policy
    for name, session in visitors.sessions.items():
        used = _another(api, service) if route[1] == "/ui/logout" else session
        with asked(service, visitors, route, session=used) as response:
            if policy == SIGNED_IN or Scope(policy) in visitors.scopes[name]:
                assert is_let_in(response), (name, response.status_code, response.text)
            else:
                assert response.status_code == 403, (name, response.text)
    assert ask(shared_ledger, "SELECT count(*) FROM users WHERE email LIKE 'new-%%'") == [(0,)]


@pytest.mark.parametrize("route", HERE, ids=" ".join)
def test_nobody_is_led_to_where_one_signs_in(
    service: RunningService, visitors: Visitors, route: tuple[str, str]
) -> None:
    for session in (None, "x", "\xff".encode().hex() * 50):
        for is_part in (False, True):
            ours = OURS if is_part or route[0] != "GET" else {}
            with asked(service, visitors, route, session=session, headers=ours) as response:
                if PAGES[route].policy == PUBLIC:
                    assert response.status_code != 403
                elif ours:
                    assert (response.status_code, response.headers["hx-redirect"]) == (401, "/ui/login")
                else:
                    assert response.status_code == 303
                    assert response.headers["location"].startswith("/ui/login?next=%2Fui%2F")


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("route", [route for route in HERE if route in ACTS], ids=" ".join)
def test_an_act_is_only_taken_from_a_page_of_ours(
    service: RunningService, visitors: Visitors, route: tuple[str, str], strange: str
) -> None:
    if route[1] == "/ui/login" and strange == "no script of ours":
        return  # its form works without a script
    with asked(service, visitors, route, session=visitors.sessions["admin"], headers=STRANGE[strange]) as response:
        assert response.status_code == 403, response.text
        assert "not sent by a page of this dashboard" in response.text


def test_an_old_browser_says_its_origin(service: RunningService, visitors: Visitors) -> None:
    headers = {"HX-Request": "true", "Origin": service.url}
    route = ("POST", "/ui/users/{user}/grant")
    with asked(service, visitors, route, session=visitors.sessions["admin"], headers=headers) as response:
        assert response.status_code == 422


@pytest.mark.parametrize("route", HERE, ids=" ".join)
def test_every_answer_has_the_headers_that_keep_it(
    service: RunningService, visitors: Visitors, route: tuple[str, str]
) -> None:
    if route[1] == "/ui/logout":
        return
    for session in (None, visitors.sessions["demoted"], visitors.sessions["admin"]):
        with asked(service, visitors, route, session=session) as response:
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["cache-control"] == "no-store"
            assert response.headers["referrer-policy"] == "no-referrer"
            is_page = response.headers.get("content-type", "").startswith("text/html")
            if is_page and "statement." not in route[1]:
                assert response.headers["content-security-policy"] == (
                    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
                    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
                    "require-trusted-types-for 'script'; trusted-types htmx default"
                )
                assert response.headers["cross-origin-opener-policy"] == "same-origin"
                assert response.headers["cross-origin-resource-policy"] == "same-origin"
                assert response.headers["x-frame-options"] == "DENY"


def _sign_in(service: RunningService, headers: Mapping[str, str] | None = None, **fields: str) -> httpx2.Response:
    own = {"Sec-Fetch-Site": "same-origin"}
    return httpx2.post(f"{service.url}/ui/login", data=fields, headers={**own, **(headers or {})})


def _cookie(response: httpx2.Response) -> tuple[str, Mapping[str, Any]]:
    ((name, morsel),) = SimpleCookie(response.headers["set-cookie"]).items()
    return name, {**morsel, "value": morsel.value}


def _another(api: Api, service: RunningService) -> str:
    """Return a session of another administrator."""
    return str(_cookie(_sign_in(service, token=api.new_token(api.new_user(is_admin=True))))[1]["value"])


def _status(service: RunningService, session: str, path: str = "/ui/usage") -> int:
    return httpx2.get(f"{service.url}{path}", cookies={"groat_session": session}).status_code


def test_a_cookie_goes_to_this_site_alone_and_to_no_script(api: Api, service: RunningService) -> None:
    token = api.new_token(api.new_user(is_admin=True))
    name, cookie = _cookie(_sign_in(service, token=token))
    assert name == "groat_session"
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "strict", "/", "")
    assert cookie["max-age"] == str(12 * 3600)
    name, cookie = _cookie(_sign_in(service, {"Host": "groat.example"}, token=token))
    assert name == "__Host-groat_session"
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "strict", "/", True)
    assert cookie["domain"] == ""


def test_a_regular_user_gets_no_session(api: Api, service: RunningService) -> None:
    answers = [
        _sign_in(service, token=api.new_token(api.new_user())),
        _sign_in(service, token=api.new_service_token("usage:write", "balance:read", "grants:write")),
    ]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert all("set-cookie" not in answer.headers for answer in answers)


def test_a_session_is_none_of_the_apis_and_a_token_none_of_the_pages(api: Api, service: RunningService) -> None:
    session = _another(api, service)
    overview = f"{service.url}/api/v1/admin/credits/overview"
    assert _status(service, session) == 200
    assert httpx2.get(overview, cookies={"groat_session": session}).status_code == 401
    assert httpx2.get(overview, headers={"Authorization": f"Bearer {session}"}).status_code == 401
    assert api.get("/api/v1/admin/credits/overview").status == 200
    bearer = {"Authorization": f"Bearer {api.token}"}
    assert httpx2.get(f"{service.url}/ui/usage", headers=bearer).status_code == 303
    assert httpx2.get(f"{service.url}/ui/usage", cookies={"groat_session": api.token or ""}).status_code == 303


def test_who_signs_out_is_out(api: Api, service: RunningService) -> None:
    session, other = _another(api, service), _another(api, service)
    answer = httpx2.post(f"{service.url}/ui/logout", cookies={"groat_session": session}, headers=OURS)
    assert answer.headers["hx-redirect"] == "/ui/login"
    assert _cookie(answer)[1]["max-age"] == "0"
    assert (_status(service, session), _status(service, other)) == (303, 200)


def test_who_signs_in_anew_leaves_no_session_behind(api: Api, service: RunningService) -> None:
    session = _another(api, service)
    answer = _sign_in(service, {"HX-Request": "true", "Cookie": f"groat_session={session}"}, token=api.token or "")
    assert _status(service, _cookie(answer)[1]["value"]) == 200
    assert _status(service, session) == 303


@pytest.mark.parametrize(
    "change",
    [
        "ended_at = now()",
        "last_seen_at = now() - interval '30 minutes'",
        "expires_at = now()",
    ],
)
def test_a_session_that_is_over_opens_nothing(
    api: Api, service: RunningService, shared_ledger: Address, change: str
) -> None:
    session = _another(api, service)
    assert _status(service, session) == 200
    newest = "(SELECT max(id) FROM dashboard_sessions)"
    ask(shared_ledger, f"UPDATE dashboard_sessions SET {change} WHERE id = {newest}")  # noqa: S608 - texts of this test
    assert _status(service, session) == 303


@pytest.mark.parametrize("scopes", [[], ["reports:read"]])
def test_a_session_ends_with_the_token_that_it_was_begun_with(
    api: Api, service: RunningService, scopes: list[str]
) -> None:
    if scopes:
        made = api.post("/api/v1/admin/tokens", {"name": "s", "scopes": scopes}).body
    else:
        made = api.post(f"/api/v1/admin/users/{api.new_user(is_admin=True)}/tokens", {}).body
    session = str(_cookie(_sign_in(service, token=made["token"]))[1]["value"])
    assert _status(service, session) == 200
    api.delete(f"/api/v1/admin/tokens/{made['details']['id']}")
    assert _status(service, session) == 303


def test_rights_follow_the_database_at_the_next_request(
    api: Api, service: RunningService, shared_ledger: Address
) -> None:
    email = api.new_user(is_admin=True)
    session = str(_cookie(_sign_in(service, token=api.new_token(email)))[1]["value"])
    for is_admin, status in ((False, 403), (True, 200), (False, 403)):
        ask(shared_ledger, "UPDATE users SET is_admin = %s WHERE email = %s", (is_admin, email))
        assert _status(service, session, "/ui/sessions") == status


def test_an_administrator_ends_the_session_of_another(
    api: Api, service: RunningService, shared_ledger: Address, visitors: Visitors
) -> None:
    session = _another(api, service)
    ((session_id,),) = ask(shared_ledger, "SELECT max(id) FROM dashboard_sessions")
    path = f"{service.url}/ui/sessions/{session_id}/end"
    for name, status in (("viewer", 403), ("granter", 403), ("admin", 200)):
        answer = httpx2.post(path, cookies={"groat_session": visitors.sessions[name]}, headers=OURS)
        assert answer.status_code == status
    assert _status(service, session) == 303


@pytest.mark.parametrize(
    "path", ["/ui/users/{}?part=tokens", "/ui/users/{}?part=audit", "/ui/export/audit-log.csv", "/ui/export/tokens.csv"]
)
def test_what_is_of_administration_is_an_administrators_wherever_it_stands(
    service: RunningService, visitors: Visitors, path: str
) -> None:
    """Taken out: the check of `part` on a user's page."""
    path = path.format(visitors.user_id)
    statuses = {name: _status(service, visitors.sessions[name], path) for name in ("viewer", "granter", "admin")}
    assert statuses == {"viewer": 403, "granter": 403, "admin": 200}


async def _link(address: Address, email: str) -> str:
    async with open_ledger(address, provider_durability=True) as ledger:
        return await make_login_link(ledger, await find_user(ledger, email))


async def test_a_link_signs_in_once_and_not_when_it_is_only_looked_at(
    api: Api, service: RunningService, shared_ledger: Address
) -> None:
    link = await _link(shared_ledger, api.new_user(is_admin=True))
    for _ in range(2):
        looked = httpx2.get(f"{service.url}/?login={link}")
        assert looked.status_code == 200
        assert "set-cookie" not in looked.headers
    first, second = _sign_in(service, link=link), _sign_in(service, link=link)
    assert (first.status_code, second.status_code) == (303, 401)
    assert _status(service, str(_cookie(first)[1]["value"])) == 200


@pytest.mark.parametrize("change", ["expires_at = now()", "used_at = now()"])
async def test_a_link_that_is_over_signs_nobody_in(
    api: Api, service: RunningService, shared_ledger: Address, change: str
) -> None:
    link = await _link(shared_ledger, api.new_user(is_admin=True))
    ask(shared_ledger, f"UPDATE login_links SET {change}")  # noqa: S608 - texts of this test
    assert _sign_in(service, link=link).status_code == 401


async def test_a_link_of_who_is_no_administrator_any_more_opens_no_page(
    api: Api, service: RunningService, shared_ledger: Address
) -> None:
    email = api.new_user(is_admin=True)
    link = await _link(shared_ledger, email)
    ask(shared_ledger, "UPDATE users SET is_admin = false WHERE email = %s", (email,))
    answer = _sign_in(service, link=link)
    if answer.status_code == 303:
        assert _status(service, str(_cookie(answer)[1]["value"])) == 403
    else:
        assert answer.status_code in {401, 403}


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/ui/\\evil.example",
        "/ui/usage\r\nSet-Cookie: a=b",
        "javascript:alert(1)",
        "ui/usage",
        "",
    ],
)
def test_signing_in_leads_nowhere_else(api: Api, service: RunningService, place: str) -> None:
    token = api.new_token(api.new_user(is_admin=True))
    answer = _sign_in(service, token=token, next=place)
    session = str(_cookie(answer)[1]["value"])
    there = answer.headers["location"]
    assert urlsplit(there).netloc == ""
    assert there.startswith("/ui/signed-in?next=%2Fui%2Fusage")
    arrived = httpx2.get(f"{service.url}/ui/signed-in", params={"next": place}, cookies={"groat_session": session})
    assert (arrived.status_code, arrived.headers["location"]) == (303, "/ui/usage")
    assert "evil" not in httpx2.get(f"{service.url}/ui/login", params={"next": place}).text


def test_secrets_of_sessions_and_links_are_nowhere(
    service: RunningService, visitors: Visitors, shared_ledger: Address
) -> None:
    ((stored,),) = ask(shared_ledger, "SELECT json_agg(s)::text FROM dashboard_sessions AS s")
    log = service.log.read_text()
    for session in visitors.sessions.values():
        assert session not in str(stored)
        assert session not in log
