"""Answers that are no JSON: SQL, files to keep, pages to print."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Explain = Literal["sql"] | None

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8; header=present",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
    "html": "text/html; charset=utf-8",
    "sql": "text/plain; charset=utf-8",
}
_CHUNK_BYTES = 2**16
_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)


def described(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entry of the other forms that a route's answer may have."""
    content: dict[str, Any] = {MEDIA_TYPES[kind].partition(";")[0]: {"schema": {"type": "string"}} for kind in kinds}
    return {200: {"content": content}}


OR_SQL = described("sql")


class SqlScript(Response):
    """The SQL behind an answer, as a script for psql."""

    media_type = MEDIA_TYPES["sql"]


class Page(Response):
    """A page that is all there: it has its own style, and may load, run and send nothing."""

    media_type = MEDIA_TYPES["html"]

    def __init__(self, content: str) -> None:
        super().__init__(content, headers={"Content-Security-Policy": _nothing_but_style(content)})


def _nothing_but_style(content: str) -> str:
    """Return the policy of a page: the styles that stand in it are told by their digests."""
    digests = [base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() for style in _STYLE.findall(content)]
    styles = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    return f"default-src 'none'; style-src {styles}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Attachment(Response):
    """A text to keep as a file."""

    def __init__(self, content: str, *, kind: str, name: str) -> None:
        super().__init__(content, media_type=MEDIA_TYPES[kind], headers=_kept_as(f"{name}.{kind}"))


def file_answer(file: BinaryIO, *, kind: str, name: str) -> StreamingResponse:
    """Send an open file, piece by piece, and close it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    headers = {"Content-Length": str(size), **_kept_as(f"{name}.{kind}")}
    return StreamingResponse(_pieces(file), media_type=MEDIA_TYPES[kind], headers=headers)


def _kept_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield piece
