"""Who looks at a page, and how: in which time zone and theme, with which rights, at which address."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError, model_validator

from groat_server.core.scopes import Scope
from groat_server.http import types

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from groat_server.operations.sessions import Session

ZONE_COOKIE = "groat_zone"
THEME_COOKIE = "groat_theme"
_FLASH_COOKIE = "groat_flash"
_FLASH_SECONDS = 30
_ZONE: TypeAdapter[str] = TypeAdapter(types.TimeZone)


class PageQuery(types.Body):
    """What every page's address may say: `tz`, the IANA zone in which times are shown."""

    tz: types.TimeZone | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty_fields(cls, said: Any) -> Any:
        """Take a field of a form that was left empty as not said."""
        return {name: value for name, value in said.items() if value != ""} if isinstance(said, dict) else said


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation, with the key that goes there after `g`."""

    title: str
    path: str
    key: str
    scope: Scope = Scope.REPORTS_READ


PLACES = (
    Place("Usage", "/ui/usage", "h"),
    Place("Users", "/ui/users", "u"),
    Place("Events", "/ui/events", "e"),
    Place("Live", "/ui/live", "l"),
    Place("Alerts", "/ui/alerts", "a"),
    Place("Prices", "/ui/prices", "p"),
    Place("Checks", "/ui/checks", "c"),
    Place("Reports", "/ui/reports", "r"),
    Place("Tokens", "/ui/tokens", "t", Scope.ADMIN),
    Place("Audit log", "/ui/audit", "o", Scope.ADMIN),
    Place("Sessions", "/ui/sessions", "s", Scope.ADMIN),
)


class View:
    """What templates know of a request, as `view`."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.session: Session | None = getattr(request.state, "session", None)
        self.path = request.url.path
        self.zone_name = _zone_name(request)
        self.zone = ZoneInfo(self.zone_name)
        theme = request.cookies.get(THEME_COOKIE)
        self.theme = theme if theme in {"light", "dark"} else "system"
        self.flash = unquote(request.cookies.get(_FLASH_COOKIE, ""))
        self.now = datetime.now(UTC)

    @property
    def places(self) -> list[Place]:
        """The entries of the navigation that this person may go to."""
        session = self.session
        return [] if session is None else [place for place in PLACES if session.caller.may(place.scope)]

    def may(self, scope: str) -> bool:
        """Tell whether this person has a scope ("grants:write")."""
        return self.session is not None and self.session.caller.may(Scope(scope))

    def url(self, path: str | None = None, /, **changes: object) -> str:
        """Return the present address, or that of another page, with other parameters; None takes one away."""
        given = {**self._request.query_params, **changes}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        path = path or self.path
        return f"{path}?{query}" if query else path

    def part_url(self, path: str) -> str:
        """Return the address of a part of this page, with the page's own parameters."""
        return f"{path}?{self._request.url.query}" if self._request.url.query else path

    def local(self, time: datetime) -> datetime:
        """Return an instant in the zone of this view."""
        return time.astimezone(self.zone)


def address_with_zone(request: Request) -> str | None:
    """Return the address of a page with the zone that the person chose, where it does not say one; or else None."""
    is_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if not is_page or "hx-request" in request.headers or "tz" in request.query_params:
        return None
    zone = _zone_name(request)
    return None if zone == "UTC" else View(request).url(tz=zone)


def _zone_name(request: Request) -> str:
    said = request.query_params.get("tz") or unquote(request.cookies.get(ZONE_COOKIE, ""))
    try:
        return _ZONE.validate_python(said)
    except ValidationError:
        return "UTC"


def say_on_next_page(response: Response, text: str) -> None:
    """Let the next page that this browser sees say what was done."""
    response.set_cookie(
        _FLASH_COOKIE, quote(text), max_age=_FLASH_SECONDS, path="/ui", httponly=True, samesite="strict"
    )


def forget_said(response: Response) -> None:
    """Let no further page say it again."""
    response.delete_cookie(_FLASH_COOKIE, path="/ui", httponly=True, samesite="strict")
