"""Reads what people send by forms, under the same rules as the API's bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from groat_server.errors import BadRequest, Unprocessable
from groat_server.http.problems import field_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def field_messages(error: GroatError) -> dict[str, str]:
    """Return what is wrong with each field, by its name; nothing where it is not a matter of single fields."""
    errors: Any = error.members.get("errors", [])
    return {each["field"]: each["message"] for each in errors}
