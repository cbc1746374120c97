"""Every error that a call to Groat ends in, and how an answer becomes one.

    GroatError
    ├── APIError                    the service, or something before it, answered with an error
    │   ├── InvalidRequest          400, 422   the request cannot be right; `errors` says where
    │   ├── Unauthorized            401        no key, or not a valid one
    │   ├── InsufficientCredits     402        an enforced charge, or a hold, is more than what is available
    │   ├── Forbidden               403        the key is valid, but not for this
    │   ├── UnknownUser             404        there is no such user, or not for this key
    │   ├── IdempotencyConflict     409        the key has been used with other content
    │   ├── HoldClosed              409        the hold is captured, released or at its end
    │   └── Busy                    429, 503   too much at once; nothing was booked
    ├── OutcomeUnknown              the call may be booked or not: repeat it with the same key
    ├── NoAnswer                    no usable answer came, and nothing was booked
    └── HoldExhausted               a stream has more tokens than it may; the client says so, not the service

After every one of them but `OutcomeUnknown` it is certain that the call booked nothing.

Error bodies are problem documents (RFC 9457). A proxy may answer anything, so a status alone makes
no 402, 404 or 409 one of Groat's: those need the `code` that only Groat writes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._members import Members, Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from ._replies import Answer

_STANDARD = frozenset({"type", "title", "status", "detail", "instance", "code", "request_id"})


class GroatError(Exception):
    """The base of everything that a call to Groat raises on purpose."""


class APIError(GroatError):
    """The answer was an error: `code` and `members` are for programs, `detail` is for people.

    `code` is None where the body is not Groat's own. `request_id` names the request in the
    service's log.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        detail: str,
        request_id: str | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(status, code, detail, request_id, members)  # all of them: it pickles
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.members: Mapping[str, object] = members or {}

    def __str__(self) -> str:
        named = f"{self.status} {self.code}" if self.code else str(self.status)
        trace = f" (request {self.request_id})" if self.request_id else ""
        return f"{named}: {self.detail}{trace}"


class InvalidRequest(APIError):
    """The request cannot be right, whoever sends it; the same again will be refused again."""

    @property
    def errors(self) -> list[Mapping[str, object]]:
        """What is wrong, one entry a fault, if the service went into that."""
        try:
            return [fault.everything for fault in Members(dict(self.members)).objects("errors")]
        except Unreadable:
            return []


class Unauthorized(APIError):
    """The request had no API key, or one that is unknown, expired or taken back."""


class InsufficientCredits(APIError):
    """The enforced charge, or the hold, is more than what is available; nothing was booked.

    The figures are None where the service did not give them.
    """

    @property
    def required(self) -> Decimal | None:
        """The credits that the charge or the hold would have taken."""
        return self._amount("required")

    @property
    def available(self) -> Decimal | None:
        """The credits that could have been spent."""
        return self._amount("available")

    @property
    def balance(self) -> Decimal | None:
        """The user's current balance."""
        return self._amount("balance")

    @property
    def held(self) -> Decimal | None:
        """The credits that open holds have set aside."""
        return self._amount("held")

    @property
    def next_reset_at(self) -> datetime | None:
        """When the next allowance comes."""
        try:
            return Members(dict(self.members)).optional_instant("next_reset_at")
        except Unreadable:
            return None

    def _amount(self, name: str) -> Decimal | None:
        try:
            return Members(dict(self.members)).optional_amount(name)
        except Unreadable:
            return None


class Forbidden(APIError):
    """The API key is valid but its scopes do not cover this call."""


class UnknownUser(APIError):
    """There is no such user, or the API key may not see it."""


class IdempotencyConflict(APIError):
    """The idempotency key belongs to an earlier charge with other content; nothing was booked."""


class HoldClosed(APIError):
    """The hold is not open: captured (`code` is "hold_captured"), or released or at its end ("hold_not_open")."""


class Busy(APIError):
    """Too much at once: nothing was booked, and the same call may be made again later.

    `retry_after` is the pause in seconds that the service asked for, if it did.
    """

    retry_after: float | None = None


class OutcomeUnknown(GroatError):
    """The charge, or whatever else has a key, was sent, but whether it is booked is not known.

    Make the same call again with the same key: if it was booked the answer is a replayed receipt, if
    not it is booked now. Either way it is booked once. `idempotency_keys` has the key of each
    charge in the call, `idempotency_key` the first of them, for a single charge the only one.
    """

    def __init__(self, detail: str, idempotency_keys: tuple[str, ...]) -> None:
        super().__init__(detail, idempotency_keys)
        self.detail = detail
        self.idempotency_keys = idempotency_keys

    @property
    def idempotency_key(self) -> str:
        """The key to repeat the call with."""
        return self.idempotency_keys[0]

    def __str__(self) -> str:
        several = len(self.idempotency_keys) > 1
        repeat = "the same keys" if several else f"the key {self.idempotency_key!r}"
        return f"{self.detail} Repeat the call with {repeat} to learn the outcome."


class NoAnswer(GroatError):
    """No usable answer came, and nothing was booked.

    Either the service was never reached, or the call books nothing: it asked, or it released or renewed a hold.
    """


class HoldExhausted(GroatError):
    """The next chunk of a stream would take more output tokens than `limit`; it was not passed on."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"The stream has more than the {self.limit} output tokens that it may."


_BY_STATUS: dict[int, type[APIError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    402: InsufficientCredits,
    403: Forbidden,
    404: UnknownUser,
    422: InvalidRequest,
    429: Busy,
    503: Busy,
}
_CONFLICTS: dict[str | None, type[APIError]] = {
    "idempotency_conflict": IdempotencyConflict,
    "hold_captured": HoldClosed,
    "hold_not_open": HoldClosed,
}
_OTHER_THINGS = frozenset({"unknown_hold", "unknown_event"})
"""What else can be unknown than a user."""


def error_of(answer: Answer) -> APIError:
    """Make the error that an answer outside of 2xx stands for, whatever its body is."""
    try:
        problem = Members.of(answer.body)
    except Unreadable:
        problem = Members({})
    code = _text(problem, "code")
    detail = _text(problem, "detail") or _text(problem, "title") or "The answer was an error."
    request_id = _text(problem, "request_id") or answer.headers.get("x-request-id")
    rest = {name: value for name, value in problem.everything.items() if name not in _STANDARD}
    error = _class_of(answer.status, code)(answer.status, code, detail, request_id, rest)
    if isinstance(error, Busy):
        error.retry_after = retry_after(answer)
    return error


def retry_after(answer: Answer) -> float | None:
    """Read the seconds of `Retry-After`; a date, which needs a common clock, counts as absent."""
    try:
        seconds = float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _class_of(status: int, code: str | None) -> type[APIError]:
    if status in {402, 404} and code is None:
        return APIError
    if status == 404 and code in _OTHER_THINGS:  # noqa: PLR2004 (a status is its own name)
        return APIError
    if status == 409:  # noqa: PLR2004 (as above)
        return _CONFLICTS.get(code, APIError)
    return _BY_STATUS.get(status, APIError)


def _text(members: Members, name: str) -> str | None:
    value = members.everything.get(name)
    return value if isinstance(value, str) and value else None
