"""What pages load: scripts, styles, the icon. Each address has the content's digest in it, so it is kept for ever."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

router = APIRouter(include_in_schema=False)

_PREFIX = "/ui/static"
_MEDIA_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
_DIGEST_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that pages load, as it is and compressed."""

    content: bytes
    compressed: bytes
    media_type: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files that pages may load, by their names."""
    own = files("groat_server.http.dashboard").joinpath("static")
    found = [*own.iterdir(), *own.joinpath("vendor").iterdir()]
    return {file.name: _asset(file) for file in found if file.name.endswith(tuple(_MEDIA_TYPES))}


def _asset(file: Traversable) -> Asset:
    content = file.read_bytes()
    media_type = next(kind for suffix, kind in _MEDIA_TYPES.items() if file.name.endswith(suffix))
    return Asset(content, gzip.compress(content, mtime=0), media_type, hashlib.sha256(content).hexdigest())


@cache
def asset_url(name: str) -> str:
    """Return where a page finds a file. Raises KeyError where there is no such file."""
    return f"{_PREFIX}/{assets()[name].digest[:_DIGEST_LENGTH]}/{name}"


@router.get(f"{_PREFIX}/{{digest}}/{{name}}")
async def asset(digest: str, name: str, request: Request) -> Response:
    """Serve a file."""
    found = assets().get(name)
    if found is None or found.digest[:_DIGEST_LENGTH] != digest:
        raise HTTPException(404)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers = {**_FOR_EVER, "Content-Encoding": "gzip"}
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=_FOR_EVER)
