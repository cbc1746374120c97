"""Idempotency keys on the wire: where they stand in a request, and what an answer says of a repeat."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Header

from groat_server.errors import BadRequest
from groat_server.http import types
from groat_server.http.json import JSON

IdempotencyKey = Annotated[types.Key | None, Header(description="The key under which this is done once.")]


class Keyed(Protocol):
    """An answer to a request with a key."""

    @property
    def replayed(self) -> bool:
        """Whether it is the first answer again."""


def one_key(header: str | None, field: str | None) -> str:
    """Return the key of a request, from its header or its body. Raises BadRequest where there is none, or two."""
    if header is not None and field is not None and header != field:
        raise BadRequest("The header and the body name different idempotency keys.", code="idempotency_key_mismatch")
    key = header or field
    if key is None:
        raise BadRequest(
            "This needs a key: the header Idempotency-Key or the field idempotency_key.",
            code="idempotency_key_required",
        )
    return key


def keyed(answer: Keyed, *, is_done: bool = True) -> JSON:
    """Return an answer: 201 where something was done now, 200 for a repeat or where there was nothing to do."""
    is_new = is_done and not answer.replayed
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return JSON(answer, status_code=201 if is_new else 200, headers=headers)
