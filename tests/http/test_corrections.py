"""Refunds and voids on the wire: what goes back, what stays, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.api import Answer, new_key
from tests.http.test_grants import adjust, entries, grant, lots
from tests.http.test_holds import capture, figures, placed, without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.http.api import Api

REFUNDS, VOIDS = "/api/v1/admin/refunds", "/api/v1/admin/voids"
CORRECTION = {
    "outcome", "replayed", "event_id", "amount", "recorded_at", "version", "balance", "held", "available",
    "next_reset_at",
}  # fmt: skip


def refund(api: Api, user: object, event_id: int, key: str | None = None, **fields: object) -> Answer:
    """Refund an event, or a part of it."""
    body = {"user": user, "event_id": event_id, "reason": "did not work", **fields}
    return api.post(REFUNDS, {**body, "idempotency_key": new_key() if key is None else key})


def void(api: Api, user: object, event_id: int, key: str | None = None, **fields: object) -> Answer:
    """Void an event."""
    body = {"user": user, "event_id": event_id, "reason": "never happened", **fields}
    return api.post(VOIDS, {**body, "idempotency_key": new_key() if key is None else key})


def charged(api: Api, user: str, credits_: object = 10, **fields: Any) -> int:
    event: int = api.charge(user, credits_=credits_, **fields).body["id"]
    return event


def test_a_refund_gives_back_a_part_and_leaves_the_event(api: Api) -> None:
    user = api.new_user()
    event = charged(api, user)
    answer = refund(api, user, event, amount="2.5")
    assert (answer.status, set(answer.body)) == (201, CORRECTION)
    assert [answer.texts[name] for name in ("amount", "balance", "available", "version")] == [
        "2.5",
        "92.5",
        "92.5",
        "3",
    ]
    assert (answer.body["outcome"], answer.body["event_id"], answer.body["replayed"]) == ("refunded", event, False)
    report = api.get(f"/api/v1/admin/credits/user/{user}").body
    assert report["recent_events"][0]["credits"] == 10
    assert report["balance"]["total_consumed"] == 10
    newest = entries(api, user)[0]
    assert (newest["kind"], newest["event_id"], newest["reason"]) == ("refund", event, "did not work")
    assert [lot["remaining"] for lot in lots(api, user)] == [Decimal("92.5")]


def test_refunds_of_an_event_never_exceed_what_it_was_charged(api: Api) -> None:
    user, key = api.new_user(), new_key()
    event = charged(api, user)
    assert refund(api, user, event, amount=4).status == 201
    assert refund(api, user, event, key, amount="6.000000000001").code == (409, "refund_exceeds_charge")
    rest = refund(api, user, event, key)
    assert (rest.status, rest.texts["amount"], rest.texts["balance"]) == (201, "6", "100")
    assert refund(api, user, event).code == (409, "nothing_to_refund")
    assert refund(api, user, event, amount=1).code == (409, "refund_exceeds_charge")
    assert refund(api, user, charged(api, user, 0)).code == (409, "nothing_to_refund")


def test_a_void_takes_the_event_out_of_usage_and_keeps_its_key(api: Api) -> None:
    user, key = api.new_user(), new_key()
    event = charged(api, user, 10, key=key)
    other = charged(api, user, 3)
    answer = void(api, user, event)
    assert (answer.status, set(answer.body)) == (201, CORRECTION)
    assert [answer.texts[name] for name in ("amount", "balance", "version")] == ["10", "97", "4"]
    assert (answer.body["outcome"], answer.body["event_id"]) == ("voided", event)
    report = api.get(f"/api/v1/admin/credits/user/{user}").body
    assert [shown["id"] for shown in report["recent_events"]] == [other]
    assert (report["balance"]["total_consumed"], report["balance"]["current_month_consumed"]) == (3, 3)
    assert [entry["kind"] for entry in entries(api, user)] == ["allowance"]
    again = api.charge(user, key, 10)
    assert (again.status, again.body["voided"], again.body["replayed"], again.body["id"]) == (200, True, True, event)
    assert api.charge(user, key, 11).code == (409, "idempotency_conflict")
    assert api.balance(user) == 97


def test_in_a_batch_a_repeat_of_a_voided_charge_says_so_too(api: Api) -> None:
    user, key = api.new_user(), new_key()
    void(api, user, charged(api, user, 1, key=key))
    use = {"user": user, "action_type": "unit", "quantity": 1}
    events = [{**use, "idempotency_key": each} for each in (key, new_key())]
    results = api.post("/api/v1/usage/batch", {"events": events}).body["results"]
    assert [(result["outcome"], result["voided"]) for result in results] == [("replayed", True), ("recorded", False)]


def test_what_was_voided_or_refunded_cannot_be_the_other(api: Api) -> None:
    user = api.new_user()
    refunded, voided = charged(api, user), charged(api, user)
    assert refund(api, user, refunded, amount=1).status == 201
    assert void(api, user, voided).status == 201
    assert void(api, user, refunded).code == (409, "event_refunded")
    assert void(api, user, voided).code == (409, "event_voided")
    assert refund(api, user, voided).code == (409, "event_voided")
    assert api.balance(user) == 91


@pytest.mark.parametrize("undo", [refund, void])
def test_a_repeat_is_answered_as_the_first_time_and_gives_nothing_more(api: Api, undo: Any) -> None:
    user, key = api.new_user(), new_key()
    event = charged(api, user)
    first = undo(api, user, event, key)
    api.charge(user)
    again = undo(api, user, event, key, reason="said otherwise")
    assert (first.status, again.status, again.headers["idempotent-replayed"]) == (201, 200, "true")
    assert without(again, "replayed") == without(first, "replayed")
    assert (first.body["replayed"], again.body["replayed"]) == (False, True)
    assert undo(api, user, charged(api, user), key).code == (409, "idempotency_conflict")
    assert api.balance(user) == 89


@pytest.mark.parametrize("undo", [refund, void])
def test_an_event_of_somebody_else_is_none(api: Api, undo: Any) -> None:
    user, other = api.new_user(), api.new_user()
    event = charged(api, other)
    for event_id in (event, 999_999_999):
        assert undo(api, user, event_id).code == (404, "unknown_event")
    assert undo(api, "nobody@example.com", event).code == (404, "unknown_user")
    assert undo(api, api.new_user(demo_mode=True), event).code == (409, "demo_mode")
    assert [api.balance(user), api.balance(other)] == [100, 90]


@pytest.mark.parametrize(
    "change",
    [
        {"event_id": 0}, {"event_id": "7"}, {"event_id": 1.5}, {"event_id": 2**63}, {"reason": ""}, {"reason": None},
        {"amount": 0}, {"amount": -1}, {"credits": 1},
    ],
)  # fmt: skip
def test_what_is_no_refund_is_refused(api: Api, change: Mapping[str, Any]) -> None:
    user = api.new_user()
    body = {"user": user, "event_id": charged(api, user), "reason": "r", "idempotency_key": new_key()}
    assert api.post(REFUNDS, {**body, **change}).code == (422, "unprocessable")
    assert api.balance(user) == 90


def test_a_void_takes_no_amount(api: Api) -> None:
    user = api.new_user()
    assert void(api, user, charged(api, user), amount=1).code == (422, "unprocessable")


def test_a_captured_hold_can_be_voided_and_stays_captured(api: Api) -> None:
    user = api.new_user()
    hold_id, key = placed(api, user), new_key()
    event = capture(api, hold_id, 4, key).body["id"]
    assert void(api, user, event).status == 201
    assert figures(api, user) == (100, 0, 100)
    assert api.get(f"/api/v1/holds/{hold_id}").body["state"] == "captured"
    again = capture(api, hold_id, 4, key)
    assert (again.status, again.body["voided"], again.body["hold"]["amount"]) == (200, True, 10)
    assert capture(api, hold_id).code == (409, "hold_captured")


def test_credits_go_back_to_where_they_came_from(api: Api) -> None:
    user = api.new_user(monthly_allowance=5)
    grant(api, user, 20)
    event = charged(api, user, 12)
    refund(api, user, event, amount=8)
    purchase, allowance = lots(api, user)
    assert (allowance["remaining"], purchase["remaining"]) == (1, 20)


def test_a_refund_of_what_was_never_paid_cancels_the_debt(api: Api) -> None:
    user = api.new_user(monthly_allowance=5)
    event = charged(api, user, 12)
    assert refund(api, user, event, amount=6).texts["balance"] == "-1"
    assert [lot["remaining"] for lot in lots(api, user)] == [0]
    assert adjust(api, user, 3).texts["balance"] == "2"
