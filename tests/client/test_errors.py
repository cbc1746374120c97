"""Which error an answer becomes, and what the error carries."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

import groat

if TYPE_CHECKING:
    from tests.client.conftest import Script

KINDS = [
    (400, "bad_request", groat.InvalidRequest),
    (401, "unauthorized", groat.Unauthorized),
    (402, "insufficient_credits", groat.InsufficientCredits),
    (403, "forbidden", groat.Forbidden),
    (404, "not_found", groat.UnknownUser),
    (409, "idempotency_conflict", groat.IdempotencyConflict),
    (404, "unknown_hold", groat.APIError),
    (404, "unknown_event", groat.APIError),
    (409, "hold_captured", groat.HoldClosed),
    (409, "hold_not_open", groat.HoldClosed),
    (409, "conflict", groat.APIError),
    (413, "payload_too_large", groat.APIError),
    (418, "teapot", groat.APIError),
    (422, "unprocessable", groat.InvalidRequest),
    (429, "too_many_requests", groat.Busy),
    (503, "busy", groat.Busy),
]


@pytest.mark.parametrize(("status", "code", "kind"), KINDS)
def test_a_problem_document_becomes_its_error(
    script: Script, status: int, code: str, kind: type[groat.APIError]
) -> None:
    script.options["retries"] = 0
    script.problem(status, code, extra=1.5)
    with pytest.raises(groat.APIError) as raised:
        script.call("charge", 7, action="a")
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.code, error.detail) == (status, code, "It is so.")
    assert error.request_id == "r-1"
    assert error.members == {"extra": Decimal("1.5")}
    assert str(error) == f"{status} {code}: It is so. (request r-1)"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"[1]", b'"x"', b"\xff", b'{"code": 7, "detail": {}}', b"[" * 9999],
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, groat.APIError),
        (400, groat.InvalidRequest),
        (401, groat.Unauthorized),
        (402, groat.APIError),
        (403, groat.Forbidden),
        (404, groat.APIError),
        (409, groat.APIError),
        (429, groat.Busy),
    ],
)
def test_a_body_that_is_not_groats_still_becomes_an_error(
    script: Script, status: int, kind: type[groat.APIError], body: bytes
) -> None:
    script.options["retries"] = 0
    script.answer(status, body, {"X-Request-ID": "proxy-1"})
    with pytest.raises(groat.APIError) as raised:
        script.call("charge", 7, action="a")
    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.code) == (status, None)
    assert raised.value.request_id == "proxy-1"


def test_insufficient_credits_carries_its_figures(script: Script) -> None:
    script.answer(
        402,
        b"""{"status": 402, "code": "insufficient_credits", "detail": "Too little.",
        "required": 0.105, "available": 0, "balance": 5.1, "held": 5.1,
        "next_reset_at": "2025-02-01T00:00:00Z"}""",
    )
    with pytest.raises(groat.InsufficientCredits) as raised:
        script.call("charge", 7, action="a", enforce=True)
    error = raised.value
    assert (error.required, error.available) == (Decimal("0.105"), Decimal(0))
    assert (error.balance, error.held) == (Decimal("5.1"), Decimal("5.1"))
    assert error.next_reset_at == datetime(2025, 2, 1, tzinfo=UTC)


def test_figures_that_are_missing_or_odd_are_none(script: Script) -> None:
    script.problem(402, "insufficient_credits", required="much", next_reset_at="soon")
    with pytest.raises(groat.InsufficientCredits) as raised:
        script.call("charge", 7, action="a", enforce=True)
    error = raised.value
    figures = (error.required, error.available, error.balance, error.held, error.next_reset_at)
    assert figures == (None,) * 5


@pytest.mark.parametrize(
    ("members", "errors"),
    [
        ({"errors": [{"field": "user", "message": "?"}]}, [{"field": "user", "message": "?"}]),
        ({"errors": "many"}, []),
        ({}, []),
    ],
)
def test_an_invalid_request_says_where(script: Script, members: dict[str, object], errors: list[object]) -> None:
    script.problem(422, "unprocessable", None, **members)
    with pytest.raises(groat.InvalidRequest) as raised:
        script.call("charge", 7, action="a")
    assert raised.value.errors == errors


def test_an_error_survives_pickling(script: Script) -> None:
    script.options["retries"] = 0
    script.problem(429, "too_many_requests", {"Retry-After": "7"})
    with pytest.raises(groat.Busy) as raised:
        script.call("charge", 7, action="a")
    copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 (our own)
    assert (str(copy), copy.retry_after) == (str(raised.value), 7.0)
    unknown = pickle.loads(pickle.dumps(groat.OutcomeUnknown("Cut.", ("k",))))  # noqa: S301 (our own)
    assert unknown.idempotency_key == "k"


def test_every_error_is_a_groat_error_and_in_the_drawn_tree() -> None:
    errors = [getattr(groat, name) for name in groat.__all__]
    errors = [error for error in errors if isinstance(error, type) and issubclass(error, Exception)]
    drawing = groat.APIError.__init__.__globals__["__doc__"]
    assert len(errors) == 13
    assert all(issubclass(error, groat.GroatError) and error.__name__ in drawing for error in errors)
