"""Acts on a user or an event: a form, what will come of it, and then the act itself, in the name of who is signed in.

A form has a key from the moment it is shown, so that what is sent twice is done once. What will come of an act is found
out by doing it and taking it back.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.scopes import Scope
from groat_server.errors import Busy, Conflict, GroatError, NotFound, Unprocessable
from groat_server.http import types
from groat_server.http.dashboard import act_forms
from groat_server.http.dashboard.access import page_router, session_of
from groat_server.http.dashboard.act_forms import ActForm, Done, Target
from groat_server.http.dashboard.forms import checked, faults, read_fields, with_offsets
from groat_server.http.dashboard.pages import page
from groat_server.http.dashboard.view import PageQuery, View, say_on_next_page
from groat_server.http.dependencies import LedgerOf
from groat_server.operations.rehearsal import acting_for_a_reason, rehearsing
from groat_server.operations.tokens import create_token
from groat_server.operations.users import create_user, show_user

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from zoneinfo import ZoneInfo

    from fastapi import APIRouter

    from groat_server.core.rows import UserRow
    from groat_server.operations.ledger import Ledger

grants = page_router(Scope.GRANTS_WRITE)
administration = page_router(Scope.ADMIN)

_REFUSALS = (Busy, Conflict, NotFound, Unprocessable)
_ZONED = ("starts_at", "expires_at")


class NewUserForm(types.Body):
    """A user to create."""

    email: types.Email
    full_name: types.FullName | None = None
    monthly_allowance: types.Allowance | None = None
    time_zone: types.TimeZone = "UTC"
    demo_mode: bool = False
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """A user before an act and after it."""

    before: UserRow
    after: UserRow


@administration.get("/ui/users/new")
async def ask_for_user(request: Request, query: Annotated[PageQuery, Query()]) -> Response:  # noqa: ARG001 - the page's address is read
    """Ask for a new user."""
    return page(request, "users_new.html", fields=_blank_user(), errors={}, problem=None)


@administration.post("/ui/users/new")
async def make_user(request: Request, ledger: LedgerOf) -> Response:
    """Create a user."""
    fields = await read_fields(request)
    try:
        form = checked(NewUserForm, fields)
        made = await create_user(ledger, **form.model_dump(), actor=session_of(request).caller.actor)
    except _REFUSALS as error:
        errors, problem = faults(error)
        shown = {**_blank_user(), **fields}
        return page(request, "users_new.html", status_code=error.status, fields=shown, errors=errors, problem=problem)
    return _gone_to(f"/ui/users/{made.id}", f"{made.email} was created.")


def _blank_user() -> dict[str, str]:
    return {**dict.fromkeys(NewUserForm.model_fields, ""), "time_zone": "UTC"}


def _offer(path: str, form: type[ActForm], *, goes_to: Callable[[Target], str] | None = None) -> None:
    """Add an act's routes: GET shows its form, POST what will come of it and, confirmed, does it."""
    router = grants if form.scope is Scope.GRANTS_WRITE else administration
    _route(router, path, _Act(path, form, goes_to or _to_user))


def _to_user(target: Target) -> str:
    return f"/ui/users/{target.user_id}"


def _to_event(target: Target) -> str:
    return f"/ui/users/{target.user_id}/events/{target.part_id}"


def _to_tokens(target: Target) -> str:
    return f"/ui/users/{target.user_id}?part=tokens"


@dataclass(frozen=True, slots=True)
class _Act:
    """An act: at which address, by which form, and where one goes afterwards."""

    path: str
    form: type[ActForm]
    goes_to: Callable[[Target], str]

    async def ask(self, request: Request, ledger: Ledger, target: Target) -> Response:
        """Show the form."""
        user = await show_user(ledger, target.user_id)
        return self._page(request, target, user, act_forms.blank(self.form, key=uuid4()))

    async def take(self, request: Request, ledger: Ledger, target: Target) -> Response:
        """Show what will come of it or, once that is confirmed, do it."""
        fields = with_offsets(await read_fields(request), _ZONED, View(request).zone)
        preview: Preview | None = None
        try:
            form = checked(self.form, fields)
            if form.edit:
                return self._page(request, target, await show_user(ledger, target.user_id), fields)
            if form.confirmed:
                return await self._do(request, ledger, target, form)
            if isinstance(form, act_forms.AnonymiseForm):
                form.check(target)
            if form.is_rehearsed:
                preview, done = await _rehearse(ledger, form, target)
                if done.replayed:
                    return _gone_to(self.goes_to(target), f"{done.said} That was done before.")
        except _REFUSALS as error:
            user = await show_user(ledger, target.user_id)
            return self._page(request, target, user, fields, error=error)
        return page(
            request,
            "act_confirm.html",
            title=form.title,
            action=request.url.path,
            user=preview.before if preview else await show_user(ledger, target.user_id),
            told=form.told(),
            reason=form.reason,
            preview=preview,
            fields={
                **{name: fields[name] for name in form.model_fields if name in fields},
                "edit": "",
                "confirmed": "",
            },
        )

    async def _do(self, request: Request, ledger: Ledger, target: Target, form: ActForm) -> Response:
        async with _acting(ledger, form, target) as acting:
            if isinstance(form, act_forms.NewTokenForm):
                return await _make_token(request, acting, target, form)
            done = await form.do(acting, target)
        return _gone_to(self.goes_to(target), done.said)

    def _page(
        self,
        request: Request,
        target: Target,
        user: UserRow,
        fields: Mapping[str, str],
        *,
        error: GroatError | None = None,
    ) -> Response:
        errors, problem = ({}, None) if error is None else faults(error)
        return page(
            request,
            self.form.fields_template,
            status_code=200 if error is None else error.status,
            title=self.form.title,
            action=request.url.path,
            target=target,
            user=user,
            fields={**act_forms.blank(self.form), **_with_local_times(fields, View(request).zone)},
            errors=errors,
            problem=problem,
        )


async def _rehearse(ledger: Ledger, form: ActForm, target: Target) -> tuple[Preview, Done]:
    """Do it, look at what came of it, and take it back."""
    async with rehearsing(ledger) as rehearsed:
        before = await show_user(rehearsed, target.user_id)
        done = await form.do(rehearsed, target)
        return Preview(before, await show_user(rehearsed, target.user_id)), done


@asynccontextmanager
async def _acting(ledger: Ledger, form: ActForm, target: Target) -> AsyncIterator[Ledger]:
    """Lend the ledger on which an act is done, with its reason where the operation has no place for it."""
    if form.keeps_reason:
        yield ledger
    else:
        async with acting_for_a_reason(ledger, target.user_id, form.reason, actor=target.actor) as acting:
            yield acting


async def _make_token(request: Request, ledger: Ledger, target: Target, form: act_forms.NewTokenForm) -> Response:
    """Make a token, and show it this once."""
    made = await create_token(
        ledger,
        name=form.name,
        user_id=target.user_id,
        lifetime=None if form.lifetime_days is None else timedelta(days=form.lifetime_days),
        actor=target.actor,
    )
    return page(request, "tokens_made.html", made=made, replaced=None, goes_to=_to_tokens(target))


def _gone_to(path: str, said: str) -> Response:
    answer = Response(status_code=200, headers={"HX-Redirect": path})
    say_on_next_page(answer, said)
    return answer


def _with_local_times(fields: Mapping[str, str], zone: ZoneInfo) -> dict[str, str]:
    """Return the fields with their times as a browser's picker takes them."""
    said = dict(fields)
    for name in _ZONED:
        with suppress(ValueError, OverflowError):
            said[name] = datetime.fromisoformat(said.get(name, "")).astimezone(zone).strftime("%Y-%m-%dT%H:%M")
    return said


def _route(router: APIRouter, path: str, act: _Act) -> None:
    """Add the two routes of an act."""
    targeted = _of_user if path.count("{") == 1 else _of_part
    for method, step in (("GET", act.ask), ("POST", act.take)):
        router.add_api_route(path, targeted(step), methods=[method])


def _of_user(step: Callable[[Request, Ledger, Target], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    async def route(
        request: Request,
        user: types.Id,
        query: Annotated[PageQuery, Query()],  # noqa: ARG001 - the page's address is read
        ledger: LedgerOf,
    ) -> Response:
        return await step(request, ledger, Target(user, None, session_of(request).caller.actor))

    return route


def _of_part(step: Callable[[Request, Ledger, Target], Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    async def route(
        request: Request,
        user: types.Id,
        part: types.Id,
        query: Annotated[PageQuery, Query()],  # noqa: ARG001 - the page's address is read
        ledger: LedgerOf,
    ) -> Response:
        return await step(request, ledger, Target(user, part, session_of(request).caller.actor))

    return route


_offer("/ui/users/{user}/grant", act_forms.GrantForm)
_offer("/ui/users/{user}/adjust", act_forms.AdjustForm)
_offer("/ui/users/{user}/terms", act_forms.TermsForm)
_offer("/ui/users/{user}/demo-mode", act_forms.DemoModeForm)
_offer("/ui/users/{user}/administrator", act_forms.AdministratorForm)
_offer("/ui/users/{user}/anonymise", act_forms.AnonymiseForm)
_offer("/ui/users/{user}/tokens/new", act_forms.NewTokenForm, goes_to=_to_tokens)
_offer("/ui/users/{user}/tokens/{part}/revoke", act_forms.RevokeForm, goes_to=_to_tokens)
_offer("/ui/users/{user}/events/{part}/refund", act_forms.RefundForm, goes_to=_to_event)
_offer("/ui/users/{user}/events/{part}/void", act_forms.VoidForm, goes_to=_to_event)
