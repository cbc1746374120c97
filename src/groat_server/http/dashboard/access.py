"""Lets people in: the session's cookie, the right that a page needs, and that what is sent comes from our own pages.

The cookie opens these pages and nothing else; the API takes tokens alone. A browser sends it with no request of another
site (SameSite=Strict). What changes something must moreover come from this origin, by what the browser itself says, and
with a header that no other site's form can set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from groat_server.core.scopes import Scope
from groat_server.errors import Forbidden, GroatError, Unauthorized
from groat_server.http.dashboard.pages import address, page
from groat_server.http.dashboard.view import address_with_zone
from groat_server.http.dependencies import ledger_of
from groat_server.http.problems import field_errors, meaning_of
from groat_server.operations.sessions import HOURS_MAX, Session, find_session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

LOGIN = "/ui/login"
_COOKIE = "__Host-groat_session"
_LOOPBACK_COOKIE = "groat_session"
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_NOT_OURS = "This was not sent by a page of this dashboard."
_ABOVE = {"HX-Retarget": "#messages", "HX-Reswap": "innerHTML", "HX-Push-Url": "false"}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class PageRoute(APIRoute):
    """A route for people who are signed in, whose errors are pages."""

    scope: Scope | None = Scope.REPORTS_READ

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override] # it awaits, as theirs does
        """Return the handler behind the check of the session."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                require_own_page(request)
                request.state.session = await _signed_in(request)
                request.state.caller = request.state.session.caller
                if self.scope is not None:
                    request.state.caller.require(self.scope)
                there = address_with_zone(request)
                if there is not None:  # so that whoever is sent the address sees the same
                    return RedirectResponse(there, status_code=303)
                return await handler(request)
            except Unauthorized:
                return _to_login(request)
            except Exception as error:  # noqa: BLE001 - each becomes a page; what is a bug is logged
                return error_page(request, error)

        return guarded


def page_router(scope: Scope | None = Scope.REPORTS_READ, **options: Any) -> APIRouter:
    """Return a router of pages that need `scope`; None: any session."""

    class Route(PageRoute):
        pass

    Route.scope = scope
    return APIRouter(route_class=Route, include_in_schema=False, **options)


def session_of(request: Request) -> Session:
    """Return who is signed in; the route has been entered, so it is somebody."""
    session: Session = request.state.session
    return session


def require_own_page(request: Request) -> None:
    """Raise Forbidden where a request that changes something was not sent by a script of one of our own pages."""
    if request.method in _SAFE_METHODS:
        return
    require_own_origin(request)
    if "hx-request" not in request.headers:
        raise Forbidden(_NOT_OURS)


def require_own_origin(request: Request) -> None:
    """Raise Forbidden where the browser does not say that one of our own pages sent this."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_own = site == "same-origin" if site is not None else _is_own(request, origin)
    if not is_own:
        raise Forbidden(_NOT_OURS)


def _is_own(request: Request, origin: str | None) -> bool:
    try:
        return origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    except ValueError:  # it is no address
        return False


def session_secret(request: Request) -> str | None:
    """Return what the session's cookie has, if there is one."""
    return request.cookies.get(_cookie_name(request))


def set_session(request: Request, response: Response, secret: str) -> None:
    """Give the browser a session."""
    response.set_cookie(
        _cookie_name(request),
        secret,
        max_age=HOURS_MAX * 3600,
        path="/",
        secure=not _is_loopback(request),
        httponly=True,
        samesite="strict",
    )


def clear_session(request: Request, response: Response) -> None:
    """Take the session from the browser."""
    secure = not _is_loopback(request)
    response.delete_cookie(_cookie_name(request), path="/", secure=secure, httponly=True, samesite="strict")


def _cookie_name(request: Request) -> str:
    return _LOOPBACK_COOKIE if _is_loopback(request) else _COOKIE


def _is_loopback(request: Request) -> bool:
    """Whether the browser is on this machine. Not every browser keeps a Secure cookie of http://localhost."""
    return request.url.scheme == "http" and request.url.hostname in _LOOPBACK


async def _signed_in(request: Request) -> Session:
    secret = session_secret(request)
    if secret is None:
        raise Unauthorized("You are not signed in.")
    return await find_session(ledger_of(request), secret)


def _to_login(request: Request) -> Response:
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={"HX-Redirect": LOGIN})
    return Response(status_code=303, headers={"Location": address(LOGIN, next=here)})


def error_page(request: Request, error: Exception) -> Response:
    """Return what went wrong as a page; to htmx as a message that is shown above the present one."""
    headers: Mapping[str, str] = {}
    match error:
        case GroatError():
            status, title, detail = error.status, error.title, error.detail
            errors, headers = error.members.get("errors", []), error.headers
        case RequestValidationError():
            status, title, detail = 422, "Unprocessable", "The address has values that cannot be taken."
            errors = field_errors(error.errors())
        case HTTPException():
            status, title, detail, errors = error.status_code, "Not possible", error.detail, []
        case _:
            return error_page(request, meaning_of(error))
    is_part = "hx-request" in request.headers
    return page(
        request,
        "error_message.html" if is_part else "error.html",
        status_code=status,
        headers={**headers, **(_ABOVE if is_part else {})},
        title=title,
        detail=detail,
        errors=errors,
        request_id=request.scope.get("request_id", ""),
    )
