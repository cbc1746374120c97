"""Every error Groat raises on purpose, and nothing else.

A refusal that can be foreseen (no credits, a repeated key with other content) is a *value*, an outcome of
`core.outcomes`; it becomes one of these only at the edge, where one charge is one HTTP answer. Each
class is at once the exception, the problem+json body (`status`, `code`, `title`, typed members) and, through its
docstring, the entry in the OpenAPI document.

    GroatError
    ├── CannotStart            the process cannot begin: the message says what to do
    ├── BadRequest 400         ├── Unauthorized 401       ├── InsufficientCredits 402
    ├── Forbidden 403          ├── NotFound 404           ├── Conflict 409
    ├── PayloadTooLarge 413    ├── UnsupportedMediaType 415
    └── Unprocessable 422      └── Busy 503
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class GroatError(Exception):
    """Something the caller can act upon. `detail` is for people, `code` and `members` are for programs."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.members = dict(members or {})
        self.headers = dict(headers or {})


class CannotStart(GroatError):
    """Groat cannot start here; the detail says why and what to do about it."""

    code = "cannot_start"
    title = "Cannot start"


class BadRequest(GroatError):
    """The request contradicts itself or lacks its idempotency key."""

    status, code, title = 400, "bad_request", "Bad request"


class Unauthorized(GroatError):
    """The request carries no valid token."""

    status, code, title = 401, "unauthorized", "Unauthorized"


class InsufficientCredits(GroatError):
    """The user's available credits do not cover the charge; nothing was booked."""

    status, code, title = 402, "insufficient_credits", "Insufficient credits"


class Forbidden(GroatError):
    """The token is valid but not for this."""

    status, code, title = 403, "forbidden", "Forbidden"


class NotFound(GroatError):
    """What the request names does not exist, or is not the caller's to see."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(GroatError):
    """The request does not go with what is stored already."""

    status, code, title = 409, "conflict", "Conflict"


class PayloadTooLarge(GroatError):
    """The body has more bytes than the route takes."""

    status, code, title = 413, "payload_too_large", "Payload too large"


class UnsupportedMediaType(GroatError):
    """The body is not sent as JSON."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"


class Unprocessable(GroatError):
    """The request is well-formed but a value in it is not acceptable."""

    status, code, title = 422, "unprocessable", "Unprocessable content"


class Busy(GroatError):
    """Somebody else holds what the request needs; the same request with the same key may be sent again."""

    status, code, title = 503, "busy", "Busy"
