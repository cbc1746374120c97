"""What goes over the wire: exactly what was given."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from groat import ExternalId, Groat, Usage

if TYPE_CHECKING:
    from tests.client.conftest import Script

BALANCE = b"""{"current_balance": 85.23, "held": 5, "available": 80.23, "overdraft_limit": 0,
"monthly_allowance": 100, "current_month_consumed": 14.77, "total_consumed": 14.77,
"next_reset_at": "2025-02-01T00:00:00Z", "version": 7}"""


def test_a_charge_sends_what_was_given_and_nothing_else(script: Script) -> None:
    script.answer(201, script.recorded)
    script.call(
        "charge",
        "user@example.com",
        action="ai_chat_message",
        model="claude-3-5-sonnet",
        input_tokens=1000,
        output_tokens=500,
        idempotency_key="k-1",
    )
    assert (script.requests[0].method, script.requests[0].url.path) == ("POST", "/api/v1/usage")
    assert script.requests[0].headers["authorization"] == "Bearer secret"
    assert script.requests[0].headers["content-type"] == "application/json"
    assert script.sent() == {
        "user": "user@example.com",
        "action_type": "ai_chat_message",
        "model": "claude-3-5-sonnet",
        "input_tokens": 1000,
        "output_tokens": 500,
        "mode": "record",
        "idempotency_key": "k-1",
    }


def test_every_argument_of_a_charge_has_its_member(script: Script) -> None:
    script.answer(201, script.recorded)
    script.call(
        "charge",
        7,
        action="agent_run",
        model="m",
        input_tokens=10,
        output_tokens=20,
        cache_read_tokens=3,
        cache_write_tokens=4,
        reasoning_tokens=5,
        quantity=2,
        provider="p",
        api_cost=Decimal("5E-7"),
        description="d",
        occurred_at=datetime(2025, 1, 9, 16, 30, tzinfo=timezone(timedelta(hours=1))),
        session_id="s",
        metadata={"a": [1, None]},
        enforce=True,
        idempotency_key="k",
    )
    assert script.sent() == {
        "user": 7,
        "action_type": "agent_run",
        "model": "m",
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_tokens": 3,
        "cache_write_tokens": 4,
        "reasoning_tokens": 5,
        "quantity": 2,
        "provider": "p",
        "api_cost": "0.0000005",
        "description": "d",
        "occurred_at": "2025-01-09T16:30:00+01:00",
        "session_id": "s",
        "metadata": {"a": [1, None]},
        "mode": "enforce",
        "idempotency_key": "k",
    }


@pytest.mark.parametrize("user", [ExternalId(external_id="acct_42"), {"external_id": "acct_42"}])
def test_a_user_may_be_named_by_the_applications_id(script: Script, user: ExternalId) -> None:
    script.answer(201, script.recorded)
    script.call("charge", user, action="a")
    assert script.sent()["user"] == {"external_id": "acct_42"}


def test_a_charge_without_a_key_gets_a_new_one(script: Script) -> None:
    for _ in range(2):
        script.answer(201, script.recorded)
    receipts = [script.call("charge", 7, action="a") for _ in range(2)]
    keys = [script.sent(index)["idempotency_key"] for index in range(2)]
    assert [receipt.idempotency_key for receipt in receipts] == keys
    assert keys[0] != keys[1]
    assert uuid.UUID(keys[0]).version == 4


def test_an_empty_key_is_sent_and_not_replaced(script: Script) -> None:
    script.problem(400, "bad_request")
    with pytest.raises(Exception, match="400 bad_request"):
        script.call("charge", 7, action="a", idempotency_key="")
    assert script.sent()["idempotency_key"] == ""


def test_a_count_of_none_is_not_taken_for_no_tokens(script: Script) -> None:
    script.answer(201, script.recorded)
    script.call("charge", 7, action="a", input_tokens=None)
    assert script.sent()["input_tokens"] is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"api_cost": 0.1}, TypeError, "float"),
        ({"quantity": 1.5}, TypeError, "float"),
        ({"occurred_at": datetime(2025, 1, 9)}, ValueError, "time zone"),  # noqa: DTZ001 (the fault)
        ({"metadata": {"a": float("nan")}}, ValueError, "JSON"),
    ],
)
def test_what_is_not_exact_is_refused_before_it_is_sent(
    script: Script, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        script.call("charge", 7, action="a", **arguments)
    assert script.requests == []


def test_a_batch_sends_its_events_in_order_with_a_key_each(script: Script) -> None:
    script.answer(200, b'{"results": [%s, %s]}' % (_recorded(0), _recorded(1)))
    usages = [Usage(7, action="a", input_tokens=5), Usage("u@example.com", action="b", enforce=True)]
    script.call("charge_many", iter(usages))
    assert script.requests[0].url.path == "/api/v1/usage/batch"
    assert script.sent() == {
        "events": [
            {
                "user": 7,
                "action_type": "a",
                "input_tokens": 5,
                "mode": "record",
                "idempotency_key": usages[0].idempotency_key,
            },
            {
                "user": "u@example.com",
                "action_type": "b",
                "mode": "enforce",
                "idempotency_key": usages[1].idempotency_key,
            },
        ]
    }


def test_an_empty_batch_asks_nobody(script: Script) -> None:
    assert script.call("charge_many", []) == []
    assert script.requests == []


def test_a_batch_of_more_than_a_thousand_is_refused_before_it_is_sent(script: Script) -> None:
    with pytest.raises(ValueError, match="at most 1000"):
        script.call("charge_many", [Usage(7, action="a")] * 1001)
    assert script.requests == []


def test_an_estimate_has_no_key_and_needs_no_user(script: Script) -> None:
    script.answer(200, b'{"credits_charged": 1, "api_cost": 0.1}')
    script.answer(200, b'{"credits_charged": 1, "api_cost": 0.1}')
    at = datetime(2025, 1, 9, tzinfo=UTC)
    script.call("estimate", action="a", model="m", input_tokens=5, occurred_at=at)
    script.call("estimate", 7, action="a")
    assert script.requests[0].url.path == "/api/v1/estimate"
    assert script.sent(0) == {
        "action_type": "a",
        "model": "m",
        "input_tokens": 5,
        "occurred_at": "2025-01-09T00:00:00+00:00",
    }
    assert script.sent(1) == {"user": 7, "action_type": "a"}


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ((), b"/api/v1/me/credits"),
        ((7,), b"/api/v1/admin/users/7"),
        (("a+b@example.com",), b"/api/v1/admin/users/a%2Bb@example.com"),
        (("../../x?@example.com",), b"/api/v1/admin/users/..%2F..%2Fx%3F@example.com"),
    ],
)
def test_a_balance_is_read_where_it_lies(script: Script, user: tuple[Any], path: bytes) -> None:
    script.answer(200, BALANCE)
    script.call("balance", *user)
    assert (script.requests[0].method, script.requests[0].url.raw_path) == ("GET", path)
    assert script.requests[0].content == b""


@pytest.mark.parametrize("user", ["", "..", "7"])
def test_a_balance_of_nobody_in_particular_is_refused(script: Script, user: str) -> None:
    with pytest.raises(ValueError, match="id or e-mail"):
        script.call("balance", user)
    assert script.requests == []


def test_the_environment_names_the_service_and_the_key(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROAT_URL", "https://credits.example.com/groat/")
    monkeypatch.setenv("GROAT_API_KEY", "from-a-file\n")
    script.options = {}
    script.answer(200, BALANCE)
    script.call("balance")
    assert str(script.requests[0].url) == "https://credits.example.com/groat/api/v1/me/credits"
    assert script.requests[0].headers["authorization"] == "Bearer from-a-file"


def test_without_any_setting_the_local_service_is_asked_without_a_key(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROAT_URL", raising=False)
    monkeypatch.delenv("GROAT_API_KEY", raising=False)
    script.options = {}
    script.answer(200, BALANCE)
    script.call("balance")
    assert str(script.requests[0].url) == "http://127.0.0.1:8000/api/v1/me/credits"
    assert "authorization" not in script.requests[0].headers


def test_a_url_or_key_that_cannot_work_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="http://"):
        Groat("localhost:8000")
    with pytest.raises(ValueError, match="API key") as refusal:
        Groat(api_key="two words")
    assert "two words" not in str(refusal.value)


def _recorded(index: int) -> bytes:
    return b'{"index": %d, "outcome": "recorded", "credits_charged": 1}' % index
