"""Signing in, by a one-time link or a token; signing out; and the sessions there are.

A link is used by a press of the button on its page, which a script presses: whoever only looks a link up beforehand, as
mail and chat programs do, does not use it up.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from groat_server.core.scopes import Scope
from groat_server.errors import Forbidden, GroatError, Unauthorized
from groat_server.http import types
from groat_server.http.dashboard.access import (
    LOGIN,
    clear_session,
    error_page,
    page_router,
    require_own_origin,
    session_of,
    session_secret,
    set_session,
)
from groat_server.http.dashboard.forms import checked, read_fields
from groat_server.http.dashboard.pages import address, page
from groat_server.http.dashboard.view import PageQuery, say_on_next_page
from groat_server.http.dependencies import LedgerOf, ledger_of
from groat_server.operations.sessions import (
    end_session,
    find_session,
    list_sessions,
    sign_in_by_link,
    sign_in_by_token,
)

router = APIRouter(include_in_schema=False)
signed_in = page_router(None)
sessions = page_router(Scope.ADMIN)

HOME = "/ui/usage"
_SIGNED_IN = "/ui/signed-in"
_SECRET_LENGTH_MAX = 200
_PATH_LENGTH_MAX = 2000


class LoginQuery(PageQuery):
    """Where to go afterwards."""

    next: Annotated[str, Field(max_length=_PATH_LENGTH_MAX)] = HOME


class SignIn(types.Body):
    """What signs in: the secret of a link, or a token."""

    link: Annotated[str | None, Field(max_length=_SECRET_LENGTH_MAX)] = None
    token: Annotated[str | None, Field(max_length=_SECRET_LENGTH_MAX)] = None
    username: Annotated[str | None, Field(max_length=_SECRET_LENGTH_MAX)] = (
        None  # for password managers, which keep the token beside it
    )
    next: Annotated[str, Field(max_length=_PATH_LENGTH_MAX)] = HOME


@router.get("/")
async def root(request: Request, login: str | None = None) -> Response:
    """Go to the first page; with `login`, the secret of a one-time link, offer to sign in by it."""
    if login is not None:
        return page(request, "login.html", link=login[:_SECRET_LENGTH_MAX], next=HOME, problem=None)
    return RedirectResponse(HOME, status_code=303)


@router.get(LOGIN)
async def login_page(request: Request, query: Annotated[LoginQuery, Query()]) -> Response:
    """Ask for a token."""
    return page(request, "login.html", link=None, next=_own_path(query.next), problem=None)


@router.post(LOGIN)
async def sign_in(request: Request) -> Response:
    """Begin a session. The form works without a script too."""
    is_part = "hx-request" in request.headers
    going_to = HOME
    try:
        require_own_origin(request)
        given = checked(SignIn, await read_fields(request))
        going_to = _own_path(given.next)
        by, secret = (sign_in_by_link, given.link) if given.link else (sign_in_by_token, given.token or "")
        session = await by(ledger_of(request), secret.strip(), user_agent=request.headers.get("user-agent", ""))
    except (Unauthorized, Forbidden) as error:
        template = "login_problem.html" if is_part else "login.html"
        return page(request, template, status_code=error.status, link=None, next=going_to, problem=error.detail)
    except GroatError as error:
        return error_page(request, error)
    await _end_the_one_before(request)
    there = address(_SIGNED_IN, next=going_to)
    answer = (
        Response(status_code=200, headers={"HX-Redirect": there})
        if is_part
        else RedirectResponse(there, status_code=303)
    )
    set_session(request, answer, session)
    return answer


async def _end_the_one_before(request: Request) -> None:
    """End the session that this browser had, which nobody will use again."""
    ledger = ledger_of(request)
    with suppress(Unauthorized):
        before = await find_session(ledger, session_secret(request) or "", is_in_use=False)
        await end_session(ledger, before.id, actor=before.caller.actor)


@router.get(_SIGNED_IN)
async def arrive(request: Request, query: Annotated[LoginQuery, Query()]) -> Response:
    """Go on, where the browser has kept the session."""
    try:
        await find_session(ledger_of(request), session_secret(request) or "")
    except Unauthorized:
        problem = "Your browser did not keep the session: come by https, or on the service's own machine by localhost."
        return page(request, "login.html", status_code=401, link=None, next=_own_path(query.next), problem=problem)
    return RedirectResponse(_own_path(query.next), status_code=303)


@signed_in.post("/ui/logout")
async def sign_out(request: Request, ledger: LedgerOf) -> Response:
    """End this session."""
    session = session_of(request)
    await end_session(ledger, session.id, actor=session.caller.actor)
    answer = Response(status_code=200, headers={"HX-Redirect": LOGIN})
    clear_session(request, answer)
    return answer


@sessions.get("/ui/sessions")
async def show_sessions(request: Request, query: Annotated[PageQuery, Query()], ledger: LedgerOf) -> Response:  # noqa: ARG001 - the page's address is read
    """List who is signed in."""
    return page(request, "sessions.html", rows=await list_sessions(ledger), own=session_of(request).id)


@sessions.post("/ui/sessions/{session_id}/end")
async def end(request: Request, session_id: types.Id, ledger: LedgerOf) -> Response:
    """End somebody's session."""
    await end_session(ledger, session_id, actor=session_of(request).caller.actor)
    answer = Response(status_code=200, headers={"HX-Redirect": "/ui/sessions"})
    say_on_next_page(answer, f"Session {session_id} was ended.")
    return answer


def _own_path(path: str) -> str:
    """Return where to go next: a page of ours, whatever was said."""
    return path if path.startswith("/ui/") and "\\" not in path and path.isprintable() else HOME
