"""Charging on the wire: one charge, a batch, an estimate; what each says, and with which status."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.api import new_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.http.api import Answer, Api

URL = "/api/v1/usage"
SONNET = {"action_type": "ai_chat_message", "model": "claude-3-5-sonnet", "input_tokens": 1000, "output_tokens": 500}
RECEIPT = {
    "id", "outcome", "tracked", "credits_charged", "api_cost", "balance", "available", "overdrawn", "version",
    "replayed", "voided", "created_at", "price",
}  # fmt: skip


def without(answer: Answer, *names: str) -> Mapping[str, Any]:
    return {name: value for name, value in answer.body.items() if name not in names}


def test_a_charge_says_what_it_took_and_what_is_left(api: Api) -> None:
    user = api.new_user()
    answer = api.post(URL, {**SONNET, "user": user, "idempotency_key": new_key()})
    assert (answer.status, set(answer.body)) == (201, RECEIPT)
    assert answer.body["outcome"] == "recorded"
    told = [answer.texts[name] for name in ("credits_charged", "api_cost", "balance", "available", "version")]
    assert told == ["0.105", "0.0105", "99.895", "99.895", "2"]
    assert (answer.body["tracked"], answer.body["overdrawn"], answer.body["replayed"]) == (True, False, False)
    assert answer.texts["price"]["rates"] == {"input": "3", "output": "15", "cache_read": "0.3", "cache_write": "3.75"}
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize(
    ("tokens", "cost", "credits_"),
    [(1, "0.000001", "0.00001"), (10**9, "1000", "10000"), (0, "0", "0"), (333_333, "0.333333", "3.33333")],
)
def test_amounts_are_written_exactly_and_in_plain_notation(api: Api, tokens: int, cost: str, credits_: str) -> None:
    use = {"user": api.new_user(), "action_type": "chat", "model": "lamp", "input_tokens": tokens}
    charged = api.post(URL, {**use, "idempotency_key": new_key()})
    for answer in (charged, api.post("/api/v1/estimate", use)):
        assert [answer.texts[name] for name in ("api_cost", "credits_charged")] == [cost, credits_]


@pytest.mark.parametrize("given", ["0.00000005", '"0.00000005"', "5e-8", "5E-8", '"0.000000050000"'])
def test_a_tiny_amount_may_come_as_a_number_or_a_text_and_goes_as_a_plain_number(api: Api, given: str) -> None:
    user = api.new_user()
    body = f'{{"user": "{user}", "action_type": "chat", "api_cost": {given}, "idempotency_key": "{new_key()}"}}'
    answer = api.send("POST", URL, body.encode(), headers={"Content-Type": "application/json"})
    assert [answer.texts[name] for name in ("api_cost", "credits_charged")] == ["0.00000005", "0.0000005"]
    assert answer.texts["balance"] == "99.9999995"
    report = api.get(f"/api/v1/admin/credits/user/{user}")
    assert report.texts["recent_events"][0]["credits"] == "0.0000005"


def test_a_repeated_key_is_answered_as_the_first_time(api: Api) -> None:
    user, key = api.new_user(), new_key()
    first = api.charge(user, key, 7)
    api.charge(user)
    again = api.charge(user, key, 7, description="said otherwise", mode="enforce")
    assert (first.status, again.status) == (201, 200)
    assert without(again, "replayed", "outcome") == without(first, "replayed", "outcome")
    assert (again.body["replayed"], again.body["outcome"]) == (True, "replayed")
    assert again.headers["idempotent-replayed"] == "true"
    assert api.balance(user) == 92


@pytest.mark.parametrize(
    "change", [{"quantity": 8}, {"action_type": "chat", "api_cost": 1}, {"model": "lamp"}, {"input_tokens": 1}]
)
def test_a_key_with_other_content_is_a_conflict(api: Api, change: Mapping[str, object]) -> None:
    user, key = api.new_user(), new_key()
    api.charge(user, key, 7)
    body = {"user": user, "action_type": "unit", "quantity": 7, "idempotency_key": key, **change}
    assert api.post(URL, body).code == (409, "idempotency_conflict")
    assert api.balance(user) == 93


def test_the_key_may_come_as_a_header_a_field_or_both_if_they_agree(api: Api) -> None:
    user, key = api.new_user(), new_key()
    body = {"user": user, "action_type": "unit", "quantity": 1}
    assert api.post(URL, body, Idempotency_Key=key).status == 201
    assert api.post(URL, {**body, "idempotency_key": key}).status == 200
    assert api.post(URL, {**body, "idempotency_key": key}, Idempotency_Key=key).status == 200
    other = api.post(URL, {**body, "idempotency_key": key}, Idempotency_Key="another")
    assert other.code == (400, "idempotency_key_mismatch")
    assert api.post(URL, body).code == (400, "idempotency_key_required")
    assert api.post(URL, body, Idempotency_Key="k" * 256).code == (422, "unprocessable")
    assert api.balance(user) == 99


def test_two_keys_in_two_headers_are_refused(api: Api) -> None:
    user = api.new_user()
    response = api.client.post(
        URL,
        json={"user": user, "action_type": "unit", "quantity": 1},
        headers=[("Idempotency-Key", new_key()), ("Idempotency-Key", new_key())],
    )
    assert (response.status_code, response.json()["code"]) == (400, "idempotency_key_mismatch")
    assert api.balance(user) == 100


def test_keys_of_two_users_have_nothing_to_do_with_each_other(api: Api) -> None:
    key = new_key()
    assert [api.charge(api.new_user(), key, credits_).status for credits_ in (1, 2)] == [201, 201]


def test_an_enforced_charge_above_what_is_available_is_refused_with_the_figures(api: Api) -> None:
    user, key = api.new_user(monthly_allowance="10.5"), new_key()
    api.charge(user, credits_=3)
    answer = api.charge(user, key, "7.500000000001", mode="enforce")
    assert answer.code == (402, "insufficient_credits")
    told = [answer.texts[name] for name in ("required", "available", "balance", "held")]
    assert told == ["7.500000000001", "7.5", "7.5", "0"]
    assert answer.body["next_reset_at"].endswith("Z")
    assert api.charge(user, key, "7.5", mode="enforce").status == 201
    assert api.charge(user, credits_=0, mode="enforce").status == 201
    assert api.charge(user, credits_="0.000000000001", mode="enforce").status == 402


def test_use_that_has_happened_is_recorded_below_zero(api: Api) -> None:
    answer = api.charge(api.new_user(monthly_allowance=1), credits_=3)
    assert (answer.status, answer.texts["balance"], answer.body["overdrawn"]) == (201, "-2", True)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"user": "nobody@example.com"}, 404, "unknown_user"),
        ({"user": 10**15}, 404, "unknown_user"),
        ({"user": {"external_id": "nobody"}}, 404, "unknown_user"),
        ({"action_type": "chat", "model": "no-such-model", "input_tokens": 1}, 422, "unknown_model"),
        ({"action_type": "chat"}, 422, "unpriced_action"),
        ({"occurred_at": "2099-01-01T00:00:00Z"}, 422, "occurred_in_future"),
        ({"occurred_at": "2026-01-01T00:00:00Z"}, 422, "occurred_too_long_ago"),
        ({"input_tokens": 1, "cache_read_tokens": 2}, 422, "unprocessable"),
        ({"output_tokens": 1, "reasoning_tokens": 2}, 422, "unprocessable"),
        ({"input_tokens": 10**9 + 1}, 422, "unprocessable"),
        ({"api_cost": 10**6 + 1}, 422, "unprocessable"),
        ({"action_type": "Chat"}, 422, "unprocessable"),
        ({"mode": "hold"}, 422, "unprocessable"),
        ({"description": "x" * 501}, 422, "unprocessable"),
        ({"model": "x" * 201}, 422, "unprocessable"),
        ({"metadata": {"a": "x" * 4096}}, 422, "unprocessable"),
    ],
)
def test_what_cannot_be_charged_is_refused_and_leaves_no_trace(
    api: Api, change: Mapping[str, object], status: int, code: str
) -> None:
    user, key = api.new_user(), new_key()
    body = {"user": user, "action_type": "unit", "quantity": 1, "idempotency_key": key}
    assert api.post(URL, {**body, **change}).code == (status, code)
    assert api.post(URL, body).status == 201
    assert api.balance(user) == 99


def test_the_limits_themselves_are_taken(api: Api) -> None:
    user = api.new_user()
    answer = api.charge(
        user, "k" * 255, "1.000000000001", model="m" * 200, description="line\n\ttext é 🙂" + "x" * 480,
        session_id="s" * 255, input_tokens=10**9, output_tokens=10**9, metadata={"a": [1, None, True, {"b": "ü"}]},
    )  # fmt: skip
    assert (answer.status, answer.texts["credits_charged"]) == (201, "1.000000000001")


def test_fractions_in_metadata_are_kept_exactly(api: Api) -> None:
    assert api.charge(api.new_user(), metadata={"temperature": 0.7}).status == 201


def test_a_user_may_be_called_by_id_by_address_or_by_external_id(api: Api) -> None:
    email = api.new_user(external_id="Ext/ID 7")
    user_id = api.get(f"/api/v1/admin/users/{email}").body["user"]["id"]
    for name in (user_id, email, email.upper(), f" {email} ", {"external_id": "Ext/ID 7"}):
        assert api.charge(name).status == 201, name
    assert api.charge({"external_id": "ext/id 7"}).status == 404
    assert api.balance(email) == 95


def test_a_user_in_demo_mode_is_answered_and_never_tracked(api: Api) -> None:
    user, key = api.new_user(demo_mode=True), new_key()
    for _ in range(2):
        answer = api.post(URL, {**SONNET, "user": user, "idempotency_key": key})
        assert (answer.status, answer.body["tracked"], answer.body["reason"]) == (200, False, "demo_mode")
        assert (answer.texts["credits_charged"], answer.texts["api_cost"]) == ("0.105", "0.0105")
        assert "id" not in answer.body
    assert api.charge(user, key, 10**6, mode="enforce").status == 200
    assert api.get(f"/api/v1/admin/users/{user}").body["balance"] is None
    assert api.get(f"/api/v1/admin/credits/user/{user}").body["recent_events"] == []
    (result,) = api.post(f"{URL}/batch", {"events": [{**SONNET, "user": user, "idempotency_key": key}]}).body["results"]
    assert (result["index"], result["outcome"], result["tracked"]) == (0, "untracked", False)


def test_a_batch_answers_each_item_in_order_and_counts_the_outcomes(api: Api) -> None:
    user, demo, key = api.new_user(monthly_allowance=10), api.new_user(demo_mode=True), new_key()
    unit = {"user": user, "action_type": "unit", "quantity": 4}
    events = [
        {**unit, "idempotency_key": key},
        {**unit, "idempotency_key": key},
        {**unit, "idempotency_key": key, "quantity": 5},
        {**unit, "idempotency_key": new_key(), "quantity": 7, "mode": "enforce"},
        {**unit, "idempotency_key": new_key(), "mode": "enforce"},
        {**unit, "idempotency_key": new_key(), "user": demo},
        {**unit, "idempotency_key": new_key(), "user": "nobody@example.com"},
        {**unit, "idempotency_key": new_key(), "quantity": -1},
        {**unit, "idempotency_key": new_key(), "surprise": 1},
        unit,
        "no object",
        None,
        {**unit, "idempotency_key": new_key(), "model": "no-such", "action_type": "chat"},
    ]
    answer = api.post(f"{URL}/batch", {"events": events})
    assert answer.status == 200
    results = answer.body["results"]
    assert [result["index"] for result in results] == list(range(len(events)))
    assert [result["outcome"] for result in results] == [
        "recorded", "replayed", "idempotency_conflict", "insufficient_credits", "recorded", "untracked", "unknown_user",
        "invalid", "invalid", "invalid", "invalid", "invalid", "unknown_model",
    ]  # fmt: skip
    counts = {name: answer.body[name] for name in ("recorded", "replayed", "untracked", "refused")}
    assert counts == {"recorded": 2, "replayed": 1, "untracked": 1, "refused": 9}
    assert (results[3]["required"], results[3]["available"], results[3]["balance"]) == (7, 6, 6)
    assert [fault["field"] for fault in results[7]["errors"]] == ["quantity"]
    assert results[0].keys() >= {"id", "balance", "available", "version", "price"}
    assert api.balance(user) == 2


@pytest.mark.parametrize(
    "body", [{}, [], {"events": []}, {"events": {}}, {"events": None}, {"events": [], "x": 1}, {"events": [{}] * 1001}]
)
def test_a_body_that_is_no_batch_is_refused_whole(api: Api, body: object) -> None:
    assert api.post(f"{URL}/batch", body).code == (422, "unprocessable")


def test_a_batch_takes_a_thousand(api: Api) -> None:
    user = api.new_user(monthly_allowance=5000)
    use = {"user": user, "action_type": "unit", "quantity": 1, "description": "x" * 400}
    events = [{**use, "idempotency_key": new_key()} for _ in range(1000)]
    for recorded, replayed in ((1000, 0), (0, 1000)):
        answer = api.post(f"{URL}/batch", {"events": events})
        assert (answer.body["recorded"], answer.body["replayed"]) == (recorded, replayed)
    assert [result["version"] for result in answer.body["results"]] == list(range(2, 1002))
    assert api.balance(user) == 4000


def test_an_estimate_is_what_the_charge_will_be_and_stores_nothing(api: Api) -> None:
    user = api.new_user()
    estimate = api.post("/api/v1/estimate", {**SONNET, "user": user})
    assert (estimate.status, estimate.texts["credits_charged"], estimate.texts["api_cost"]) == (200, "0.105", "0.0105")
    assert api.balance(user) == 100
    charged = api.post(URL, {**SONNET, "user": user, "idempotency_key": new_key()})
    assert charged.body["price"] == estimate.body["price"]
    unknown = api.post("/api/v1/estimate", {"action_type": "chat", "model": "no-such-model"})
    assert unknown.code == (422, "unknown_model")


def test_an_estimate_prices_as_of_when_the_use_was(api: Api) -> None:
    use = {"action_type": "chat", "model": "o3", "input_tokens": 10**6}
    may, august = (
        api.post("/api/v1/estimate", {**use, "occurred_at": f"2025-{month}-01T00:00:00Z"}).body["api_cost"]
        for month in ("05", "08")
    )
    assert may > august > 0


def test_balances_on_the_wire_add_up(api: Api) -> None:
    user = api.new_user(monthly_allowance="0.3")
    last = [api.charge(user, credits_="0.1") for _ in range(3)][-1]
    assert last.texts["balance"] == "0"
    shown = api.get(f"/api/v1/admin/users/{user}").body["balance"]
    assert (shown["current_balance"], shown["total_consumed"]) == (0, Decimal("0.3"))
    assert shown["current_month_consumed"] == Decimal("0.3")
