"""Both clients against a running service: what the mocked tests assume of it is so."""

from __future__ import annotations

from decimal import Decimal

import httpx2
import pytest

import groat
from groat import ExternalId, Groat, Receipt, Refusal, Usage
from tests.client.conftest import Meter
from tests.http.api import Api, new_key


def test_a_charge_is_priced_to_the_last_digit_and_repeated_under_its_key(meter: Meter, api: Api) -> None:
    user, key = api.new_user(), new_key()
    use = {"action": "chat", "model": "claude-3-5-sonnet", "input_tokens": 1000, "output_tokens": 500}
    first, again = (meter.call("charge", user, **use, idempotency_key=key) for _ in range(2))
    assert (str(first.credits_charged), str(first.api_cost), str(first.balance)) == ("0.105", "0.0105", "99.895")
    assert (first.replayed, again.replayed, again.id, again.balance) == (False, True, first.id, first.balance)
    assert first.created_at == again.created_at
    assert first.price.cost_source == "model"
    assert api.balance(user) == Decimal("99.895")


def test_all_that_can_be_said_of_a_use_is_taken(meter: Meter, api: Api) -> None:
    user = api.new_user(external_id=(name := new_key()))
    receipt = meter.call(
        "charge", ExternalId(external_id=name), action="chat", model="lamp", provider="house", input_tokens=10,
        output_tokens=5, cache_read_tokens=2, cache_write_tokens=1, reasoning_tokens=3, quantity=Decimal("1.50"),
        api_cost=Decimal("5E-8"), description="words", session_id="s", metadata={"a": [1, {"b": None}]},
        idempotency_key=new_key(),
    )  # fmt: skip
    assert (str(receipt.credits_charged), receipt.price.cost_source) == ("0.0000005", "caller")
    (event,) = api.get(f"/api/v1/admin/credits/user/{user}").body["recent_events"]
    assert (event["description"], event["provider"], event["quantity"]) == ("words", "house", Decimal("1.5"))


def test_an_estimate_stores_nothing(meter: Meter, api: Api) -> None:
    user = api.new_user()
    estimate = meter.call("estimate", user, action="chat", model="lamp", input_tokens=1)
    assert (str(estimate.credits_charged), str(estimate.api_cost)) == ("0.00001", "0.000001")
    assert meter.call("estimate", action="unit", quantity="2.5").credits_charged == Decimal("2.5")
    assert api.balance(user) == 100


def test_a_balance_is_read_by_address_by_id_or_of_oneself(meter: Meter, api: Api) -> None:
    user = api.new_user(monthly_allowance="12.5")
    api.charge(user, credits_="0.25")
    by_email = meter.call("balance", user)
    user_id = api.get(f"/api/v1/admin/users/{user}").body["user"]["id"]
    own = Meter(meter.kind, meter.url, api.new_token(user)).call("balance")
    assert by_email == meter.call("balance", user_id) == own
    assert (by_email.current_balance, by_email.available, by_email.held) == (Decimal("12.25"), Decimal("12.25"), 0)
    assert by_email.next_reset_at is not None


def test_a_refused_charge_has_the_figures(meter: Meter, api: Api) -> None:
    user = api.new_user(monthly_allowance=1)
    with pytest.raises(groat.InsufficientCredits) as caught:
        meter.call("charge", user, action="unit", quantity="1.5", enforce=True)
    error = caught.value
    assert error.required == Decimal("1.5")
    assert (error.available, error.balance, error.held) == (Decimal(1), Decimal(1), Decimal(0))
    assert error.next_reset_at is not None
    assert meter.call("charge", user, action="unit", quantity="1.5").overdrawn is True


def test_errors_are_of_their_kind(meter: Meter, api: Api) -> None:
    user, key = api.new_user(), new_key()
    meter.call("charge", user, action="unit", quantity=1, idempotency_key=key)
    with pytest.raises(groat.IdempotencyConflict):
        meter.call("charge", user, action="unit", quantity=2, idempotency_key=key)
    with pytest.raises(groat.UnknownUser):
        meter.call("charge", "nobody@example.com", action="unit", quantity=1)
    with pytest.raises(groat.UnknownUser):
        meter.call("balance", "nobody@example.com")
    with pytest.raises(groat.InvalidRequest) as caught:
        meter.call("charge", user, action="unit", quantity=1, input_tokens=-1)
    assert [fault["field"] for fault in caught.value.errors] == ["input_tokens"]
    with pytest.raises(groat.Unauthorized):
        Meter(meter.kind, meter.url, "wrong").call("balance")
    with pytest.raises(groat.Forbidden):
        Meter(meter.kind, meter.url, api.new_token(user)).call("charge", user, action="unit", quantity=1)


def test_a_batch_has_a_receipt_or_a_refusal_for_each_in_order(meter: Meter, api: Api) -> None:
    user, demo = api.new_user(monthly_allowance=10), api.new_user(demo_mode=True)
    usages = [
        Usage(user, action="unit", quantity=4),
        Usage(user, action="unit", quantity=7, enforce=True),
        Usage("nobody@example.com", action="unit", quantity=1),
        Usage(demo, action="unit", quantity=1),
        Usage(user, action="unit", quantity=6, enforce=True),
    ]
    for outcome in ("recorded", "replayed"):
        results = meter.call("charge_many", usages)
        assert [type(result) for result in results] == [Receipt, Refusal, Refusal, Receipt, Receipt]
        assert [result.outcome for result in results] == [
            outcome, "insufficient_credits", "unknown_user", "untracked", outcome,
        ]  # fmt: skip
        assert [result.idempotency_key for result in results] == [usage.idempotency_key for usage in usages]
    assert api.balance(user) == 0


def test_a_user_in_demo_mode_is_not_tracked(meter: Meter, api: Api) -> None:
    receipt = meter.call("charge", api.new_user(demo_mode=True), action="unit", quantity=3)
    assert (receipt.tracked, receipt.reason, receipt.id, receipt.credits_charged) == (False, "demo_mode", None, 3)


def test_a_charge_whose_answers_are_lost_is_made_once(api: Api) -> None:
    assert api.token is not None
    user, key = api.new_user(), new_key()

    class Lossy(httpx2.HTTPTransport):
        lost = 0

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            self.lost += 1
            if self.lost < 3:
                response.read()
                response.close()
                raise httpx2.ReadError("the answer is lost")
            return response

    with Groat(api.url, api.token, transport=Lossy()) as meter:
        meter._sleep = lambda _: None  # noqa: SLF001 - no test sleeps
        receipt = meter.charge(user, action="unit", quantity=1, idempotency_key=key)
    assert receipt.replayed is True
    assert api.balance(user) == 99


@pytest.mark.parametrize("code", ["outcome_unknown", "not_ready", "busy"])
def test_after_a_503_only_busy_says_that_nothing_was_booked(api: Api, code: str) -> None:
    assert api.token is not None
    user, key, asked = api.new_user(), new_key(), []

    def busy(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.content)
        return httpx2.Response(503, json={"code": code, "detail": "later", "status": 503})

    with Groat(api.url, api.token, retries=2, transport=httpx2.MockTransport(busy)) as meter:
        meter._sleep = lambda _: None  # noqa: SLF001 - no test sleeps
        expected = groat.Busy if code == "busy" else groat.OutcomeUnknown
        with pytest.raises(expected):
            meter.charge(user, action="unit", quantity=1, idempotency_key=key)
    assert len(asked) == 3
    assert set(asked) == {asked[0]}
