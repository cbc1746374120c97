"""When to try again, and what to say when there is no answer: decided here, without any I/O.

The clients send and sleep; `Attempts` judges each reply. Because every attempt carries the same
body and key, trying again never charges twice. What has to be right here is the last word: a charge
that may have arrived must never be reported as one that did not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ._errors import APIError, Busy, GroatError, NoAnswer, OutcomeUnknown, error_of, retry_after
from ._members import Members, Unreadable
from ._replies import Answer, Failure

if TYPE_CHECKING:
    from ._requests import Request

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A service that asks for a longer pause is not waited for: the caller decides."""

_WORTH_REPEATING = frozenset({429, 502, 503, 504})
_DECIDED = frozenset({400, 402, 404, 409, 413, 422})
"""With Groat's own code, these are answers about the charge itself, after its key was looked up."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The call has its result."""

    result: T


@dataclass(frozen=True, slots=True)
class Wait:
    """The call is to be sent again after a pause."""

    seconds: float


class Attempts(Generic[T]):
    """The attempts at one request, judged one by one."""

    def __init__(self, request: Request[T], retries: int) -> None:
        self._request = request
        self._retries = retries
        self._made = 0
        self._may_be_booked = False

    def judge(self, reply: Answer | Failure) -> Done[T] | Wait:
        """Say what follows from a reply. Raises the GroatError that the call ends in."""
        self._made += 1
        if isinstance(reply, Failure):
            return self._after_failure(reply)
        if 200 <= reply.status < 300:  # noqa: PLR2004 (the success class of HTTP)
            return self._after_success(reply)
        return self._after_error(reply)

    def _after_success(self, answer: Answer) -> Done[T]:
        try:
            return Done(self._request.read(Members.of(answer.body)))
        except Unreadable as error:
            self._may_be_booked = True
            raise self._no_answer(f"The answer cannot be read: {error}") from error

    def _after_failure(self, failure: Failure) -> Wait:
        self._may_be_booked |= failure.sent
        if self._made <= self._retries:
            return Wait(self._pause())
        reason = str(failure.cause) or type(failure.cause).__name__
        attempts = "1 attempt" if self._made == 1 else f"{self._made} attempts"
        raise self._no_answer(f"No answer after {attempts}: {reason}") from failure.cause

    def _after_error(self, answer: Answer) -> Wait:
        error = error_of(answer)
        self._may_be_booked |= answer.status >= 500 and not _is_certain(error)  # noqa: PLR2004 (as above)
        asked = retry_after(answer) or 0.0
        if answer.status in _WORTH_REPEATING and self._made <= self._retries and asked <= LONGEST_RETRY_AFTER_SECONDS:
            return Wait(asked + self._pause())
        if self._is_open_after(error):
            raise OutcomeUnknown(f"The last answer was {error}.", self._request.keys) from error
        raise error

    def _is_open_after(self, error: APIError) -> bool:
        """Whether some attempt may have been booked and this answer does not tell."""
        decided = error.code is not None and error.status in _DECIDED
        return bool(self._request.keys) and self._may_be_booked and not decided

    def _no_answer(self, detail: str) -> GroatError:
        if self._request.keys and self._may_be_booked:
            return OutcomeUnknown(detail + ".", self._request.keys)
        return NoAnswer(detail)

    def _pause(self) -> float:
        """Draw a pause, anywhere up to a bound that doubles (full jitter), so that no herd forms."""
        bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._made - 1, 9))
        return random.uniform(0, bound)  # noqa: S311 (spreads load, keeps no secret)


def _is_certain(error: APIError) -> bool:
    """Whether a server error says that nothing was booked: only Groat's own `busy` does, no other 503."""
    return isinstance(error, Busy) and error.code == "busy"
