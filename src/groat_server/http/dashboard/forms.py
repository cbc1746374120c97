"""Reads what people send by forms, under the same rules as the API's bodies."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from groat_server.errors import BadRequest, Unprocessable
from groat_server.http.problems import field_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from zoneinfo import ZoneInfo

    from starlette.requests import Request

    from groat_server.errors import GroatError

Form = TypeVar("Form", bound=BaseModel)

_BYTES_MAX = 2**16
_FIELDS_MAX = 50


async def read_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form that are not empty. Raises BadRequest for what no form of ours sends."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _BYTES_MAX:
            raise HTTPException(413)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=_FIELDS_MAX
        )
    except ValueError as error:
        raise BadRequest("This form cannot be read.") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise BadRequest("A field of this form is given twice.")
    return {name: value for name, value in fields.items() if value.strip()}


def checked(model: type[Form], fields: Mapping[str, object]) -> Form:
    """Return a form's fields under the rules of `model`. Raises Unprocessable, whose `errors` name the fields."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise Unprocessable("This cannot be taken.", members={"errors": field_errors(error.errors())}) from error


def faults(error: GroatError) -> tuple[dict[str, str], str | None]:
    """Return what is wrong with which field and, where that is none of the form's, what is wrong at all."""
    found: Any = error.members.get("errors", [])
    errors: dict[str, str] = {each["field"]: each["message"] for each in found}
    whole = errors.pop("", None)
    return errors, whole or (None if errors else error.detail)


def with_offsets(fields: Mapping[str, str], names: Iterable[str], zone: ZoneInfo) -> dict[str, str]:
    """Return the fields with these times said in full: what a browser's picker gives is of the zone of the page.

    What is no time stays, for the field's own rule says what is wrong with it.
    """
    said = dict(fields)
    for name in names:
        with suppress(ValueError, OverflowError):
            time = datetime.fromisoformat(said.get(name, ""))
            said[name] = (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC).isoformat()
    return said
