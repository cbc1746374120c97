"""Errors as problem+json (RFC 9457): for answers and, from the same classes, for the OpenAPI document."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import psycopg
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from groat_server.core.text import is_safe
from groat_server.database import translated_errors
from groat_server.errors import (
    BadRequest,
    Busy,
    Forbidden,
    GroatError,
    PayloadTooLarge,
    Unauthorized,
    Unprocessable,
    UnsupportedMediaType,
)
from groat_server.http.json import JSON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request

_log = logging.getLogger(__name__)
_FIELD_LENGTH_MAX = 100

Responses = dict[int | str, dict[str, Any]]


class Problem(JSON):
    """An answer that says what went wrong."""

    media_type = "application/problem+json"


def problem(
    request: Request,
    status: int,
    code: str,
    *,
    title: str,
    detail: str,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Problem:
    """Return the problem as an answer to `request`."""
    body = {
        "type": f"urn:groat:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request.scope.get("request_id", ""),
        **(members or {}),
    }
    return Problem(body, status_code=status, headers=dict(headers or {}))


def problem_of(request: Request, error: GroatError) -> Problem:
    """Return the problem that a GroatError is."""
    return problem(
        request,
        error.status,
        error.problem_code,
        title=error.title,
        detail=error.detail,
        members=error.members,
        headers=error.headers,
    )


def problem_responses(*errors: type[GroatError]) -> Responses:
    """Return the OpenAPI entries of what a route may raise, beside what every route may."""
    by_status: dict[int, list[str]] = {}
    raised: tuple[type[GroatError], ...] = (*errors, Unprocessable)
    for error in raised:
        by_status.setdefault(error.status, []).append(error.__doc__ or error.title)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": " ".join(texts), "content": content} for status, texts in by_status.items()}


def describe(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document what holds for all protected routes: the token, and the problems each may answer."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        if not path.startswith("/api/"):
            continue
        for operation in operations.values():
            operation["security"] = [{"token": []}]
            raised = [Unauthorized, Forbidden, Busy]
            if "requestBody" in operation:
                raised += [BadRequest, PayloadTooLarge, UnsupportedMediaType]
            for status, response in problem_responses(*raised).items():
                operation["responses"].setdefault(str(status), response)


PROBLEM_SCHEMA = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 says it; some codes add members of their own.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}


def field_errors(errors: Sequence[Any]) -> list[dict[str, str]]:
    """Return pydantic's errors as field and message. What was sent is never echoed."""
    return [{"field": _field(error["loc"]), "message": _message(error)} for error in errors]


def _field(location: Sequence[object]) -> str:
    path = ".".join(str(part) for part in location if part not in {"body", "query", "path"})
    return path if is_safe(path) and len(path) <= _FIELD_LENGTH_MAX else "?"


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"The body is not strict JSON: {error['ctx']['error']}."
    return str(error["msg"]).removeprefix("Value error, ")


def answer_to(request: Request, error: Exception) -> Problem:
    """Return the problem that an error is."""
    return problem_of(request, meaning_of(error))


def meaning_of(error: Exception) -> GroatError:
    """Return the GroatError that an error is, or what an error of the database means; what is neither is a bug."""
    try:
        with translated_errors():
            raise error  # noqa: TRY301 - that is how its meaning is found
    except GroatError as meaning:
        return meaning
    except Exception:  # noqa: BLE001 - it is logged, and answered as a bug
        _log.exception("a request failed")
    return GroatError(
        "Something is wrong on our side. What became of the request is unknown: send it again with the same key."
    )


async def _on_error(request: Request, error: Exception) -> Problem:
    return answer_to(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what must be true already
    return problem_of(
        request,
        Unprocessable("The request has values that cannot be taken.", members={"errors": field_errors(error.errors())}),
    )


async def _on_http_exception(request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)  # noqa: S101 - what must be true already
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_of(request, PayloadTooLarge("The body is larger than this route takes."))
    if status == HTTPStatus.BAD_REQUEST:
        return problem_of(request, BadRequest("The body could not be read."))
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    return problem(
        request,
        status,
        code,
        title=status.phrase,
        detail=f"{status.description or status.phrase}.",
        headers=error.headers,
    )


def install(app: FastAPI) -> None:
    """Let every error of `app` be answered as a problem."""
    app.add_exception_handler(GroatError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(psycopg.OperationalError, _on_error)
    app.add_exception_handler(Exception, _on_error)
