"""When the client tries again, what it sends then, and its last word on a charge."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import httpx2
import pytest

import groat

if TYPE_CHECKING:
    from tests.client.conftest import Script

NEVER_SENT = [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("slow"), httpx2.PoolTimeout("full")]
CUT = [httpx2.ReadTimeout("slow"), httpx2.WriteError("cut"), httpx2.RemoteProtocolError("cut")]


@pytest.mark.parametrize("error", [*NEVER_SENT, *CUT])
def test_after_a_failure_the_same_request_is_sent_again(script: Script, error: Exception) -> None:
    script.fail(error)
    script.fail(error)
    script.answer(200, script.recorded)
    assert script.call("charge", 7, action="a").id == 41
    first, *others = script.requests
    assert len(others) == 2
    assert {other.content for other in others} == {first.content}
    assert b"idempotency_key" in first.content


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_after_a_passing_error_the_same_request_is_sent_again(script: Script, status: int) -> None:
    script.answer(status, b"<html>")
    script.problem(status, "busy")
    script.answer(201, script.recorded)
    script.call("charge", 7, action="a")
    assert len({request.content for request in script.requests}) == 1
    assert len(script.requests) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 500, 501])
def test_any_other_error_ends_the_call(script: Script, status: int) -> None:
    script.problem(status, "a_code")
    with pytest.raises(groat.GroatError):
        script.call("charge", 7, action="a")
    assert (len(script.requests), script.pauses) == (1, [])


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_the_retries_have_an_end(script: Script, retries: int) -> None:
    script.options["retries"] = retries
    for _ in range(retries + 1):
        script.problem(503, "busy")
    with pytest.raises(groat.Busy):
        script.call("charge", 7, action="a")
    assert len(script.requests) == retries + 1
    assert len(script.pauses) == retries


def test_the_pauses_are_drawn_below_a_bound_that_doubles(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds: list[float] = []

    def draw(low: float, high: float) -> float:
        assert low == 0
        bounds.append(high)
        return high / 2

    monkeypatch.setattr("random.uniform", draw)
    script.options["retries"] = 8
    for _ in range(9):
        script.fail(httpx2.ConnectError("refused"))
    with contextlib.suppress(groat.NoAnswer):
        script.call("charge", 7, action="a")
    assert bounds == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert script.pauses == [bound / 2 for bound in bounds]


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("3", 3, 3.25),
        ("0", 0, 0.25),
        ("0.5", 0.5, 0.75),
        ("60", 60, 60.25),
        ("-1", 0, 0.25),
        ("nan", 0, 0.25),
        ("inf", 0, 0.25),
        ("Wed, 21 Oct 2025 07:28:00 GMT", 0, 0.25),
    ],
)
def test_retry_after_is_the_least_pause(script: Script, header: str, least: float, most: float) -> None:
    script.answer(503, b"", {"Retry-After": header})
    script.answer(201, script.recorded)
    script.call("charge", 7, action="a")
    assert least <= script.pauses[0] <= most


def test_a_pause_of_more_than_a_minute_is_left_to_the_caller(script: Script) -> None:
    script.problem(429, "too_many_requests", {"Retry-After": "3600"})
    with pytest.raises(groat.Busy) as raised:
        script.call("charge", 7, action="a")
    assert raised.value.retry_after == 3600
    assert script.pauses == []


@pytest.mark.parametrize("status", [None, 502, 503, 504])
def test_a_charge_that_may_be_booked_ends_in_outcome_unknown(script: Script, status: int | None) -> None:
    for _ in range(4):
        if status is None:
            script.fail(httpx2.ReadTimeout("slow"))
        else:
            script.answer(status, b"<html>")
    with pytest.raises(groat.OutcomeUnknown, match="'k'") as raised:
        script.call("charge", 7, action="a", idempotency_key="k")
    assert raised.value.idempotency_key == "k"
    assert raised.value.__cause__ is not None
    assert len(script.requests) == 4


def test_an_internal_error_leaves_the_outcome_unknown(script: Script) -> None:
    script.problem(500, "internal_error")
    with pytest.raises(groat.OutcomeUnknown) as raised:
        script.call("charge", 7, action="a")
    assert isinstance(raised.value.__cause__, groat.APIError)


def test_the_key_that_the_client_made_is_in_the_error(script: Script) -> None:
    script.replies = [httpx2.ReadTimeout("slow")] * 4
    with pytest.raises(groat.OutcomeUnknown) as raised:
        script.call("charge", 7, action="a")
    assert raised.value.idempotency_key == script.sent()["idempotency_key"]


@pytest.mark.parametrize("error", NEVER_SENT)
def test_a_charge_that_was_never_sent_is_known_not_to_be_booked(script: Script, error: Exception) -> None:
    script.replies = [error] * 4
    with pytest.raises(groat.NoAnswer):
        script.call("charge", 7, action="a")


@pytest.mark.parametrize(("status", "code"), [(401, "unauthorized"), (403, "forbidden"), (429, "busy"), (503, "busy")])
def test_a_cut_attempt_stays_unknown_if_the_next_answer_is_not_about_the_charge(
    script: Script, status: int, code: str
) -> None:
    script.options["retries"] = 1
    script.fail(httpx2.ReadTimeout("slow"))
    script.problem(status, code)
    with pytest.raises(groat.OutcomeUnknown) as raised:
        script.call("charge", 7, action="a")
    assert isinstance(raised.value.__cause__, groat.APIError)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (402, "insufficient_credits", groat.InsufficientCredits),
        (409, "idempotency_conflict", groat.IdempotencyConflict),
        (422, "unknown_model", groat.InvalidRequest),
    ],
)
def test_a_cut_attempt_is_settled_by_an_answer_about_the_charge(
    script: Script, status: int, code: str, kind: type[groat.APIError]
) -> None:
    script.fail(httpx2.ReadTimeout("slow"))
    script.problem(status, code)
    with pytest.raises(kind):
        script.call("charge", 7, action="a")


def test_a_cut_attempt_stays_unknown_if_the_connection_is_gone_then(script: Script) -> None:
    script.replies = [httpx2.ReadError("cut"), *[httpx2.ConnectError("refused")] * 3]
    with pytest.raises(groat.OutcomeUnknown):
        script.call("charge", 7, action="a")


def test_a_batch_of_unknown_outcome_names_every_key(script: Script) -> None:
    script.replies = [httpx2.ReadTimeout("slow")] * 4
    usages = [groat.Usage(7, action="a") for _ in range(3)]
    with pytest.raises(groat.OutcomeUnknown, match="the same keys") as raised:
        script.call("charge_many", usages)
    assert raised.value.idempotency_keys == tuple(usage.idempotency_key for usage in usages)


def test_a_question_is_asked_again_and_has_no_outcome(script: Script) -> None:
    script.replies = [httpx2.ReadTimeout("slow")] * 4
    with pytest.raises(groat.NoAnswer):
        script.call("balance")
    for _ in range(4):
        script.answer(504)
    with pytest.raises(groat.APIError):
        script.call("estimate", action="a")
    assert len(script.requests) == 8
