"""Renders pages: templates, what they may use, and the headers under which a browser shows them."""

from __future__ import annotations

import gzip
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

from groat_server import __version__
from groat_server.http.dashboard import figures
from groat_server.http.dashboard.static import asset_url
from groat_server.http.dashboard.view import View, forget_said
from groat_server.http.files import MEDIA_TYPES
from groat_server.operations.reports import FILE_ROWS_MAX, SHEET_ROWS_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types htmx default"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}
ROWS_OF_FILES = (("csv", FILE_ROWS_MAX), ("xlsx", SHEET_ROWS_MAX))
_COMPRESSED_FROM_BYTES = 1000


class Page(Response):
    """A page of the dashboard."""

    media_type = MEDIA_TYPES["html"]


def page(
    request: Request,
    template: str,
    *,
    status_code: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> Page:
    """Render a template as the answer to `request`; it sees `view` and the context given."""
    view = View(request)
    text = _environment().get_template(template).render(view=view, **context)
    content = text.encode()
    sent = {**HEADERS, "Vary": "Accept-Encoding", **(headers or {})}
    if len(content) >= _COMPRESSED_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, compresslevel=5, mtime=0)
        sent["Content-Encoding"] = "gzip"
    answer = Page(content, status_code=status_code, headers=sent)
    if view.flash:
        forget_said(answer)
    return answer


def rendered(request: Request, template: str, **context: Any) -> str:
    """Return a template's text, for an answer of another kind than a page."""
    return _environment().get_template(template).render(view=View(request), **context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("groat_server.http.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(asset_url=asset_url, version=__version__, address=address, rows_of_files=ROWS_OF_FILES)
    environment.filters.update(figures.FILTERS)
    return environment


def address(path: str, /, **parameters: object) -> str:
    """Return a path with those parameters that are not None."""
    query = urlencode({name: _said(value) for name, value in parameters.items() if value is not None})
    return f"{path}?{query}" if query else path


def _said(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime | date) else str(value)
