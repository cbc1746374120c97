"""What a hold sends, and when: the way in, the way out, and streams in between. Both clients run every block."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import httpx2
import pytest

import groat
from tests.client.blocks import END, next_of, passing, source

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.client.conftest import Script

USE: dict[str, Any] = {"action": "chat", "model": "m", "input_tokens": 900, "max_output_tokens": 10}
INTERRUPTIONS = [ValueError("the provider is down"), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]

PLACE, RENEW = "/api/v1/holds", "/api/v1/holds/hold_7_3/renew"
CAPTURE, RELEASE = "/api/v1/holds/hold_7_3/capture", "/api/v1/holds/hold_7_3/release"


def held(**members: object) -> bytes:
    """Return the answer to a hold that was placed, renewed or released."""
    answer = {
        "id": "hold_7_3",
        "outcome": "held",
        "tracked": True,
        "state": "open",
        "amount": 0.42,
        "created_at": "2025-01-09T15:30:00Z",
        "expires_at": "2025-01-09T15:45:00Z",
        "balance": 100,
        "held": 0.42,
        "available": 99.58,
        "replayed": False,
    }
    return json.dumps(answer | members).encode()


def captured(script: Script, **members: object) -> bytes:
    """Return the receipt of a capture."""
    hold = {"id": "hold_7_3", "amount": 0.42, "exceeded_hold": False, "late_capture": False}
    return script.recorded[:-1] + b', "hold": %s}' % json.dumps(hold | members).encode()


def paths(script: Script) -> list[str]:
    """Return where the requests went."""
    return [request.url.path for request in script.requests]


def nothing(_hold: Any) -> None:
    """Use nothing."""


# --- the way in


def test_a_hold_sends_what_was_given_and_nothing_else(script: Script) -> None:
    script.answer(201, held())
    script.answer(200, held(state="released"))
    script.hold(nothing, "user@example.com", **USE, idempotency_key="k")
    assert [request.method for request in script.requests] == ["POST", "POST"]
    assert script.sent(0) == {
        "user": "user@example.com",
        "action_type": "chat",
        "model": "m",
        "input_tokens": 900,
        "max_output_tokens": 10,
        "idempotency_key": "k",
    }


def test_every_argument_of_a_hold_has_its_member(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))
    script.hold(
        lambda hold: hold.saw(),
        7,
        action="image",
        model="m",
        input_tokens=5,
        max_output_tokens=0,
        quantity=2,
        provider="p",
        amount=Decimal("5E-7"),
        ttl=timedelta(minutes=1, milliseconds=1),
        description="d",
        session_id="s",
        metadata={"a": [1]},
        idempotency_key="k",
    )
    use = {"action_type": "image", "model": "m", "input_tokens": 5, "quantity": 2, "provider": "p", "description": "d"}
    assert script.sent(0) == use | {
        "user": 7,
        "max_output_tokens": 0,
        "amount": "0.0000005",
        "ttl_seconds": 61,
        "idempotency_key": "k",
    }
    assert script.sent(1) == use | {
        "session_id": "s",
        "metadata": {"a": [1], "estimated": True},
        "idempotency_key": "k:capture",
    }


def test_a_hold_tells_what_was_set_aside(script: Script) -> None:
    script.answer(201, held())
    script.answer(200, held())
    hold = script.hold(nothing, 7, **USE, idempotency_key="k")
    assert (hold.id, hold.tracked, hold.amount, hold.available) == (
        "hold_7_3", True, Decimal("0.42"), Decimal("99.58"),
    )  # fmt: skip
    assert hold.expires_at == datetime(2025, 1, 9, 15, 45, tzinfo=UTC)
    assert (hold.idempotency_key, hold.receipt, hold.exhausted) == ("k", None, False)


def test_without_the_credits_the_block_does_not_begin(script: Script) -> None:
    script.problem(402, "insufficient_credits", required=0.42, available=0.1)
    with pytest.raises(groat.InsufficientCredits) as refusal:
        script.hold(lambda _: pytest.fail("the block ran"), 7, **USE)
    assert (refusal.value.required, refusal.value.available) == (Decimal("0.42"), Decimal("0.1"))
    assert paths(script) == [PLACE]


def test_a_hold_whose_answers_are_lost_is_asked_for_with_the_same_key(script: Script) -> None:
    script.fail(httpx2.ReadTimeout("slow"))
    script.answer(200, held(replayed=True))
    script.answer(200, held())
    script.answer(200, held())
    script.hold(nothing, 7, **USE)
    assert paths(script) == [PLACE, PLACE, RENEW, RELEASE]
    assert script.requests[0].content == script.requests[1].content


def test_a_hold_of_unknown_outcome_names_its_key(script: Script) -> None:
    script.replies = [httpx2.ReadTimeout("slow")] * 4
    with pytest.raises(groat.OutcomeUnknown) as unknown:
        script.hold(nothing, 7, **USE, idempotency_key="k")
    assert unknown.value.idempotency_key == "k"


def test_an_earlier_attempts_hold_is_taken_up_and_lasts_anew(script: Script) -> None:
    script.answer(200, held(replayed=True))
    script.answer(200, held(expires_at="2025-01-09T16:00:00Z", available=99))
    script.answer(200, held())
    hold = script.hold(nothing, 7, **USE, ttl=60, idempotency_key="k")
    assert paths(script) == [PLACE, RENEW, RELEASE]
    assert script.sent(1) == {"ttl_seconds": 60}
    assert (hold.expires_at, hold.available) == (datetime(2025, 1, 9, 16, 0, tzinfo=UTC), 99)


def test_an_earlier_attempts_hold_that_has_ended_is_followed_by_another(script: Script) -> None:
    for number in ("3", "4"):
        script.answer(200, held(replayed=True, id=f"hold_7_{number}"))
        script.problem(409, "hold_not_open")
        script.answer(200, held(state="released"))
    script.answer(201, held(id="hold_7_5"))
    script.answer(201, captured(script))
    script.hold(lambda hold: hold.saw(output_tokens=1), 7, **USE, idempotency_key="k")
    placements = [script.sent(index) for index in (0, 3, 6)]
    assert [placement.pop("idempotency_key") for placement in placements] == ["k", "k:2", "k:3"]
    assert placements[0] == placements[1] == placements[2]
    assert paths(script)[-1] == "/api/v1/holds/hold_7_5/capture"
    assert script.sent()["idempotency_key"] == "k:capture"


def test_a_use_that_an_earlier_attempt_was_charged_for_is_not_begun_again(script: Script) -> None:
    script.answer(200, held(replayed=True))
    script.problem(409, "hold_not_open")
    script.problem(409, "hold_captured")
    with pytest.raises(groat.HoldClosed) as closed:
        script.hold(lambda _: pytest.fail("the block ran"), 7, **USE)
    assert closed.value.code == "hold_captured"
    assert paths(script) == [PLACE, RENEW, RELEASE]


def test_a_placement_that_is_interrupted_is_taken_back(script: Script) -> None:
    """Taken out: the withdrawal in `__enter__` and `__aenter__`."""
    interruption = KeyboardInterrupt()
    script.fail(interruption)
    script.answer(200, held(replayed=True))
    script.answer(200, held(state="released"))
    with pytest.raises(KeyboardInterrupt) as raised:
        script.hold(lambda _: pytest.fail("the block ran"), 7, **USE)
    assert raised.value is interruption
    assert paths(script) == [PLACE, PLACE, RELEASE]
    assert script.requests[0].content == script.requests[1].content


def test_a_hold_is_entered_once(script: Script) -> None:
    script.answer(201, held())
    script.answer(200, held())
    hold = script.hold(nothing, 7, **USE)
    with pytest.raises(RuntimeError, match="entered once"):
        hold.__enter__() if script.kind == "sync" else asyncio.run(hold.__aenter__())
    assert len(script.requests) == 2


def test_a_hold_that_was_not_entered_knows_nothing(script: Script) -> None:
    with script.client() as client:
        hold = client.hold(7, **USE)
        with pytest.raises(RuntimeError, match="with"):
            _ = hold.id
        with pytest.raises(ValueError, match="on_error"):
            client.hold(7, **USE, on_error=cast("Any", "keep"))
    assert script.requests == []


# --- the way out


def test_a_capture_charges_what_it_is_told(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script, exceeded_hold=True, late_capture=True))
    receipts = []

    def body(hold: Any) -> Generator[Any, Any, None]:
        receipts.append(
            (
                yield hold.capture(
                    input_tokens=10,
                    output_tokens=20,
                    cache_read_tokens=3,
                    cache_write_tokens=4,
                    reasoning_tokens=5,
                    quantity=Decimal("1.5"),
                    action="summary",
                    model="n",
                    provider="p",
                    api_cost=Decimal("0.5"),
                    description="d",
                    session_id="s",
                    metadata={"b": 2},
                )
            )
        )

    hold = script.hold(body, 7, **USE, metadata={"a": 1}, session_id="other", idempotency_key="k")
    assert paths(script) == [PLACE, CAPTURE]
    assert script.sent() == {
        "action_type": "summary",
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
        "reasoning_tokens": 5,
        "quantity": "1.5",
        "model": "n",
        "provider": "p",
        "api_cost": "0.5",
        "description": "d",
        "session_id": "s",
        "metadata": {"a": 1, "b": 2},
        "idempotency_key": "k:capture",
    }
    assert receipts == [hold.receipt]
    assert (hold.receipt.id, hold.receipt.idempotency_key, hold.receipt.hold_id) == (41, "k:capture", "hold_7_3")
    assert (hold.receipt.exceeded_hold, hold.receipt.late_capture) == (True, True)


def test_what_a_capture_is_not_told_is_what_was_seen_or_else_what_was_held_for(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))

    def body(hold: Any) -> Generator[Any, Any, None]:
        hold.saw(output_tokens=3, reasoning_tokens=1)
        hold.saw(output_tokens=7)
        yield hold.capture()

    script.hold(body, 7, **USE, idempotency_key="k")
    assert script.sent() == {
        "action_type": "chat",
        "model": "m",
        "input_tokens": 900,
        "output_tokens": 7,
        "reasoning_tokens": 1,
        "idempotency_key": "k:capture",
    }


@pytest.mark.parametrize("length", [1, 247, 248, 255])
def test_the_captures_key_is_the_holds_and_never_too_long(script: Script, length: int) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))
    script.hold(lambda hold: hold.saw(output_tokens=1), 7, **USE, idempotency_key="k" * length)
    key = script.sent()["idempotency_key"]
    assert len(key) <= 255
    assert key.endswith(":capture")
    assert (key == "k" * length + ":capture") is (length <= 247)


def test_a_block_that_saw_nothing_releases_its_hold(script: Script) -> None:
    script.answer(201, held())
    script.answer(200, held(state="released"))
    assert script.hold(nothing, 7, **USE).receipt is None
    assert paths(script) == [PLACE, RELEASE]
    assert script.sent() == {}


def test_a_block_without_a_capture_is_charged_for_what_it_saw(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))
    hold = script.hold(lambda hold: hold.saw(output_tokens=3), 7, **USE)
    assert hold.receipt.id == 41
    assert script.sent()["output_tokens"] == 3
    assert script.sent()["metadata"] == {"estimated": True}


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda error: type(error).__name__)
def test_an_interrupted_block_is_charged_for_what_it_saw(script: Script, interruption: BaseException) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))

    def body(hold: Any) -> None:
        hold.saw(input_tokens=800, output_tokens=3)
        raise interruption

    with pytest.raises(type(interruption)) as raised:
        script.hold(body, 7, **USE)
    assert raised.value is interruption or isinstance(interruption, asyncio.CancelledError)
    assert paths(script) == [PLACE, CAPTURE]
    assert (script.sent()["input_tokens"], script.sent()["output_tokens"]) == (800, 3)
    assert script.sent()["metadata"] == {"estimated": True, "interrupted": True}


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("seen", [False, True])
def test_an_interrupted_block_that_saw_nothing_or_is_to_release_does_so(
    script: Script, interruption: BaseException, *, seen: bool
) -> None:
    script.answer(201, held())
    script.answer(200, held(state="released"))

    def body(hold: Any) -> None:
        if seen:
            hold.saw(output_tokens=3)
        raise interruption

    with pytest.raises(type(interruption)):
        script.hold(body, 7, **USE, on_error="release" if seen else "capture")
    assert paths(script) == [PLACE, RELEASE]


def test_a_hold_is_settled_once(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.capture(output_tokens=5)
        hold.saw(output_tokens=6)
        raise ValueError("after the capture")

    with pytest.raises(ValueError, match="after"):
        script.hold(body, 7, **USE)
    assert paths(script) == [PLACE, CAPTURE]


def test_a_hold_that_the_block_releases_is_released_once(script: Script) -> None:
    script.answer(201, held())
    script.answer(200, held(state="released"))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.release()

    script.hold(body, 7, **USE)
    assert paths(script) == [PLACE, RELEASE]


def test_a_hold_that_somebody_else_captured_is_left_alone(script: Script) -> None:
    script.answer(201, held())
    script.problem(409, "hold_captured")
    script.hold(nothing, 7, **USE)
    assert paths(script) == [PLACE, RELEASE]


@pytest.mark.parametrize("ttl", [None, 90, timedelta(seconds=90)])
def test_a_renewal_moves_the_end(script: Script, ttl: Any) -> None:
    script.answer(201, held())
    script.answer(200, held(expires_at="2025-01-09T17:00:00Z"))
    script.answer(200, held())

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.renew(ttl)
        assert hold.expires_at == datetime(2025, 1, 9, 17, 0, tzinfo=UTC)

    script.hold(body, 7, **USE, ttl=60)
    assert script.sent(1) == {"ttl_seconds": 60 if ttl is None else 90}


def test_a_hold_that_is_over_cannot_be_renewed(script: Script) -> None:
    script.answer(201, held())
    script.problem(409, "hold_not_open")
    script.answer(200, held(state="expired"))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.renew()

    with pytest.raises(groat.HoldClosed):
        script.hold(body, 7, **USE)


@pytest.mark.parametrize("lost", [httpx2.ReadTimeout("slow"), "busy"])
@pytest.mark.parametrize("on_error", ["capture", "release"])
def test_a_capture_of_unknown_outcome_is_sent_again_on_the_way_out(
    script: Script, lost: Exception | str, on_error: str
) -> None:
    """Taken out: keeping the request of the capture until its outcome is known."""
    script.options["retries"] = 0
    script.answer(201, held())
    if isinstance(lost, str):
        script.problem(503, lost)
    else:
        script.fail(lost)
    script.answer(200, captured(script))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.capture(output_tokens=5)

    with pytest.raises(groat.Busy if lost == "busy" else groat.OutcomeUnknown):
        script.hold(body, 7, **USE, on_error=on_error)
    assert paths(script) == [PLACE, CAPTURE, CAPTURE]
    assert script.requests[1].content == script.requests[2].content


def test_a_capture_that_is_refused_leaves_the_hold_to_the_policy(script: Script) -> None:
    script.answer(201, held())
    script.problem(422, "unknown_model")
    script.answer(200, held(state="released"))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.capture(model="no such model")

    with pytest.raises(groat.InvalidRequest):
        script.hold(body, 7, **USE)
    assert paths(script) == [PLACE, CAPTURE, RELEASE]


@pytest.mark.parametrize(
    ("code", "kind"), [("idempotency_conflict", groat.IdempotencyConflict), ("hold_captured", groat.HoldClosed)]
)
def test_a_capture_that_was_made_before_is_not_tried_again(
    script: Script, code: str, kind: type[groat.APIError]
) -> None:
    script.answer(201, held())
    script.problem(409, code)

    def body(hold: Any) -> Generator[Any, Any, None]:
        hold.saw(output_tokens=4)
        yield hold.capture(output_tokens=5)

    with pytest.raises(kind):
        script.hold(body, 7, **USE)
    assert paths(script) == [PLACE, CAPTURE]


@pytest.mark.parametrize("interruption", INTERRUPTIONS, ids=lambda error: type(error).__name__)
def test_where_settling_fails_the_exception_goes_on_with_a_note(
    script: Script, interruption: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """Taken out: the `except` around the way out."""
    script.answer(201, held())
    script.replies += [httpx2.ConnectError("refused")] * 2

    def body(hold: Any) -> None:
        hold.saw(output_tokens=3)
        raise interruption

    with pytest.raises(type(interruption)) as raised:
        script.hold(body, 7, **USE)
    told = "The hold hold_7_3 is not settled and ends by itself: No answer after 2 attempts: refused"
    if not isinstance(interruption, asyncio.CancelledError):  # asyncio.run makes a new one
        assert raised.value.__notes__[-1] == told
    assert [(record.name, record.levelname, record.message) for record in caplog.records] == [
        ("groat", "WARNING", told)
    ]
    interruption.__notes__.clear()


def test_where_settling_fails_and_nothing_else_did_it_is_raised(script: Script) -> None:
    script.answer(201, held())
    script.replies += [httpx2.ReadTimeout("slow")] * 4
    with pytest.raises(groat.OutcomeUnknown) as unknown:
        script.hold(lambda hold: hold.saw(output_tokens=3), 7, **USE, idempotency_key="k")
    assert unknown.value.idempotency_key == "k:capture"
    assert len(script.requests) == 5


# --- users in demo mode


def test_for_a_user_in_demo_mode_nothing_is_sent_after_the_question(script: Script) -> None:
    script.answer(
        200,
        b"""{"id": null, "tracked": false, "outcome": "untracked", "reason": "demo_mode", "replayed": false,
    "amount": 0.42, "price": null}""",
    )
    receipts = []

    def body(hold: Any) -> Generator[Any, Any, None]:
        assert (hold.tracked, hold.amount) == (False, Decimal("0.42"))
        assert (hold.id, hold.available, hold.expires_at) == (None, None, None)
        assert (yield from passing(hold.stream(source(script.kind, ["abc"] * 9), tokens=len))) == ["abc"] * 9
        yield hold.renew()
        receipts.append((yield hold.capture(output_tokens=5)))
        yield hold.release()

    hold = script.hold(body, 7, **USE, idempotency_key="k")
    (receipt,) = receipts
    assert (receipt.outcome, receipt.tracked, receipt.reason, receipt.credits_charged) == (
        "untracked", False, "demo_mode", 0,
    )  # fmt: skip
    assert (receipt.idempotency_key, receipt.id) == ("k:capture", None)
    assert hold.receipt == receipt
    assert len(script.requests) == 1


# --- streams


def test_a_stream_is_passed_on_and_counted(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))
    closed: list[bool] = []

    def body(hold: Any) -> Generator[Any, Any, None]:
        chunks = source(script.kind, ["abc", "", "de"], closed)
        assert (yield from passing(hold.stream(chunks, tokens=len))) == ["abc", "", "de"]

    hold = script.hold(body, 7, **USE)
    assert script.sent()["output_tokens"] == 5
    assert script.sent()["metadata"] == {"estimated": True}
    assert (hold.exhausted, closed) == (False, [])


def test_a_stream_that_is_left_after_five_chunks_is_charged_for_them(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))
    closed: list[bool] = []

    def body(hold: Any) -> Generator[Any, Any, None]:
        stream = hold.stream(source(script.kind, ["a"] * 9, closed), tokens=len)
        for _ in range(5):
            yield next_of(stream)

    script.hold(body, 7, **USE)
    assert script.sent()["output_tokens"] == 5
    assert script.sent()["metadata"] == {"estimated": True, "interrupted": True}
    assert closed == [True]


def test_a_stream_that_breaks_is_charged_for_what_came(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))

    def body(hold: Any) -> Generator[Any, Any, None]:
        chunks = source(script.kind, ["a", "b", OSError("the provider is gone")])
        yield from passing(hold.stream(chunks, tokens=len))

    with pytest.raises(OSError, match="gone"):
        script.hold(body, 7, **USE)
    assert script.sent()["output_tokens"] == 2
    assert script.sent()["metadata"] == {"estimated": True, "interrupted": True}


@pytest.mark.parametrize(("max_output_tokens", "limit"), [(5, None), (100, 5), (None, 5)])
@pytest.mark.parametrize("at_limit", ["raise", "end"])
def test_a_stream_ends_before_the_chunk_that_would_pass_the_limit(
    script: Script, max_output_tokens: int | None, limit: int | None, at_limit: str
) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))
    taken: list[str] = []
    closed: list[bool] = []

    def body(hold: Any) -> Generator[Any, Any, None]:
        chunks = source(script.kind, ["abc", "de", "", "f", "g"], closed)
        stream = hold.stream(chunks, tokens=len, limit=limit, at_limit=at_limit)
        while (chunk := (yield next_of(stream))) is not END:
            taken.append(chunk)
        assert hold.exhausted

    if at_limit == "end":
        script.hold(body, 7, action="chat", max_output_tokens=max_output_tokens)
    else:
        with pytest.raises(groat.HoldExhausted, match="more than the 5 output tokens") as end:
            script.hold(body, 7, action="chat", max_output_tokens=max_output_tokens)
        assert end.value.limit == 5
    assert taken == ["abc", "de", ""]
    assert script.sent()["output_tokens"] == 5
    assert script.sent()["metadata"] == {"estimated": True, "interrupted": True}
    assert closed == [True]


def test_a_stream_without_a_limit_has_none(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield from passing(hold.stream(source(script.kind, ["a" * 999] * 9), tokens=len))

    script.hold(body, 7, action="chat", amount=1)
    assert script.sent()["output_tokens"] == 8991


def test_the_streams_of_a_block_count_together(script: Script) -> None:
    script.answer(201, held())
    script.answer(201, captured(script))

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield from passing(hold.stream(source(script.kind, ["abc"]), tokens=len))
        hold.saw(output_tokens=6)
        yield from passing(hold.stream(source(script.kind, ["abcd", "e"]), tokens=len, at_limit="end"))

    script.hold(body, 7, **USE)
    assert script.sent()["output_tokens"] == 10
