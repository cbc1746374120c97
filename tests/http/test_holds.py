"""Holds on the wire: what they set aside, what captures say of them, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.users import create_user
from groat_server.operations.vitals import read_vitals
from tests.http.api import Answer, new_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from tests.http.api import Api

Number = Decimal | int

URL = "/api/v1/holds"
HOLD = {
    "id", "outcome", "tracked", "state", "amount", "created_at", "expires_at", "balance", "held", "available",
    "next_reset_at", "replayed",
}  # fmt: skip
SONNET = {"action_type": "ai_chat_message", "model": "claude-3-5-sonnet"}


def place(api: Api, user: object, amount: object = None, key: str | None = None, **fields: object) -> Answer:
    """Ask for a hold."""
    body = {"user": user, "idempotency_key": new_key() if key is None else key, **fields}
    return api.post(URL, body if amount is None else {**body, "amount": amount})


def placed(api: Api, user: object, amount: object = 10, **fields: Any) -> str:
    """Place a hold; returns its id."""
    answer = place(api, user, amount, **fields)
    assert answer.status == 201, answer.body
    hold_id: str = answer.body["id"]
    return hold_id


def capture(api: Api, hold_id: str, credits_: object = 4, key: str | None = None, **fields: object) -> Answer:
    """Capture units of the action `unit` to a hold."""
    body = {"action_type": "unit", "quantity": credits_, **fields}
    return api.post(f"{URL}/{hold_id}/capture", {**body, "idempotency_key": new_key() if key is None else key})


def figures(api: Api, user: str) -> tuple[Number, Number, Number]:
    """Return balance, held and available of a user."""
    shown = api.get(f"/api/v1/admin/users/{user}").body["balance"]
    return shown["current_balance"], shown["held"], shown["available"]


def without(answer: Answer, *names: str) -> Mapping[str, Any]:
    return {name: value for name, value in answer.body.items() if name not in names}


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- placing


def test_a_hold_sets_credits_aside_and_takes_none(api: Api) -> None:
    user = api.new_user()
    answer = place(api, user, "30.5", ttl_seconds=60)
    assert (answer.status, set(answer.body)) == (201, HOLD)
    assert [answer.texts[name] for name in ("amount", "balance", "held", "available")] == [
        "30.5", "100", "30.5", "69.5",
    ]  # fmt: skip
    assert (answer.body["outcome"], answer.body["state"], answer.body["tracked"]) == ("held", "open", True)
    assert time(answer.body["expires_at"]) - time(answer.body["created_at"]) == timedelta(seconds=60)
    assert figures(api, user) == (100, Decimal("30.5"), Decimal("69.5"))
    assert place(api, user, 1).texts["held"] == "31.5"


def test_a_hold_lasts_a_quarter_of_an_hour_unless_it_says_otherwise(api: Api) -> None:
    answer = place(api, api.new_user(), 1)
    assert time(answer.body["expires_at"]) - time(answer.body["created_at"]) == timedelta(minutes=15)


def test_a_repeat_is_answered_as_the_first_time_and_sets_nothing_more_aside(api: Api) -> None:
    user, key = api.new_user(), new_key()
    first = place(api, user, 10, key)
    api.charge(user, credits_=1)
    again = place(api, user, 10, key, description="said otherwise")
    assert (first.status, again.status) == (201, 200)
    assert without(again, "replayed") == without(first, "replayed")
    assert (again.body["replayed"], again.headers["idempotent-replayed"]) == (True, "true")
    assert "idempotent-replayed" not in first.headers
    assert figures(api, user) == (99, 10, 89)


@pytest.mark.parametrize(
    "change", [{"amount": 11}, {"ttl_seconds": 901}, {"action_type": "chat"}, {"model": "lamp"}, {"quantity": 2}]
)
def test_a_key_with_another_hold_is_a_conflict(api: Api, change: Mapping[str, object]) -> None:
    user, key = api.new_user(), new_key()
    place(api, user, 10, key)
    body = {"user": user, "amount": 10, "idempotency_key": key, **change}
    assert api.post(URL, body).code == (409, "idempotency_conflict")
    assert figures(api, user)[1] == 10


def test_a_hold_of_more_than_is_available_is_refused_with_the_figures(api: Api) -> None:
    user, key = api.new_user(monthly_allowance="10.5"), new_key()
    placed(api, user, 4)
    answer = place(api, user, "6.500000000001", key)
    assert answer.code == (402, "insufficient_credits")
    told = [answer.texts[name] for name in ("required", "available", "balance", "held")]
    assert told == ["6.500000000001", "6.5", "10.5", "4"]
    assert answer.body["next_reset_at"].endswith("Z")
    assert place(api, user, "6.5", key).status == 201
    assert place(api, user, 0).status == 201


def test_holds_count_in_enforced_charges_and_not_in_recorded_ones(api: Api) -> None:
    user = api.new_user(monthly_allowance=10)
    hold_id = placed(api, user, 6)
    refused = api.charge(user, credits_="4.5", mode="enforce")
    assert refused.code == (402, "insufficient_credits")
    assert [refused.texts[name] for name in ("available", "balance", "held")] == ["4", "10", "6"]
    taken = api.charge(user, credits_=4, mode="enforce")
    assert (taken.status, taken.texts["balance"], taken.texts["available"]) == (201, "6", "0")
    recorded = api.charge(user, credits_=1)
    assert (recorded.texts["balance"], recorded.texts["available"]) == ("5", "-1")
    assert capture(api, hold_id, 5).texts["available"] == "0"


def test_holds_count_in_each_enforced_item_of_a_batch(api: Api) -> None:
    user = api.new_user(monthly_allowance=10)
    placed(api, user, 6)
    unit = {"user": user, "action_type": "unit", "mode": "enforce"}
    events = [{**unit, "quantity": credits_, "idempotency_key": new_key()} for credits_ in (5, 3, 2, 1)]
    results = api.post("/api/v1/usage/batch", {"events": events}).body["results"]
    assert [result["outcome"] for result in results] == [
        "insufficient_credits", "recorded", "insufficient_credits", "recorded",
    ]  # fmt: skip
    assert [(result["available"], result.get("held")) for result in results] == [(4, 6), (1, None), (1, 6), (0, None)]


# --- priced holds


@pytest.mark.parametrize(
    ("use", "amount"),
    [
        ({**SONNET, "input_tokens": 1000, "max_output_tokens": 500}, "0.1125"),
        ({**SONNET, "max_output_tokens": 2000}, "0.3"),
        ({"action_type": "chat", "model": "lamp", "input_tokens": 10**6, "max_output_tokens": 10**6}, "30"),
        ({"action_type": "unit", "quantity": "2.5"}, "2.5"),
        ({"action_type": "unit"}, "1"),
        ({**SONNET, "input_tokens": 10**9, "amount": "0.5"}, "0.5"),
    ],
)
def test_a_use_is_held_at_what_it_can_cost_at_most(api: Api, use: Mapping[str, Any], amount: str) -> None:
    assert place(api, api.new_user(), **use).texts["amount"] == amount


def test_what_has_no_price_needs_an_amount(api: Api) -> None:
    user, key = api.new_user(), new_key()
    unknown: dict[str, Any] = {"action_type": "chat", "model": "no-such-model", "max_output_tokens": 10}
    assert place(api, user, key=key, **unknown).code == (422, "unknown_model")
    assert place(api, user, key=key, action_type="chat").code == (422, "unpriced_action")
    assert place(api, user, 3, key, **unknown).status == 201


def test_under_the_policy_unpriced_a_hold_needs_an_amount_too(api: Api, shared_ledger: Address) -> None:
    user = api.new_user()
    unknown: dict[str, Any] = {"action_type": "chat", "model": "no-such-model", "max_output_tokens": 10}
    set_policy(shared_ledger, "unpriced")
    try:
        refused = place(api, user, **unknown)
        assert refused.code == (422, "unknown_model")
        assert "amount" in refused.body["detail"]
        assert place(api, user, 3, **unknown).texts["amount"] == "3"
    finally:
        set_policy(shared_ledger, "reject")


def set_policy(address: Address, policy: str) -> None:
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("UPDATE price_book SET unknown_model = %s, version = version + 1", (policy,))


def test_a_hold_goes_by_the_settings_of_a_charge(api: Api, shared_ledger: Address) -> None:
    """Who is unknown becomes a user, and an action type that is unknown is refused, where the settings say so."""
    email = f"new-{new_key()}@example.com"
    with psycopg.connect(shared_ledger.url, autocommit=True) as connection:
        connection.execute("UPDATE ledger_settings SET create_users = true, strict_action_types = true")
        try:
            refused = place(api, email, 1, action_type=new_key())
            assert place(api, email, 1).status == 201
        finally:
            connection.execute("UPDATE ledger_settings SET create_users = false, strict_action_types = false")
    assert refused.code == (422, "unknown_action_type")
    assert figures(api, email) == (100, 1, 99)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": -1}, {"amount": True}, {"amount": "1.0000000000001"}, {"amount": 10**12 + 1}, {"amount": None},
        {"ttl_seconds": 0}, {"ttl_seconds": 86401}, {"ttl_seconds": "60"}, {"max_output_tokens": -1},
        {"output_tokens": 5}, {"mode": "enforce"}, {"api_cost": 1},
    ],
)  # fmt: skip
def test_what_is_no_hold_is_refused(api: Api, change: Mapping[str, object]) -> None:
    body = {"user": api.new_user(), "amount": 1, "idempotency_key": new_key(), **change}
    assert api.post(URL, body).code == (422, "unprocessable")


def test_a_hold_is_of_credits_or_of_a_use(api: Api) -> None:
    assert place(api, api.new_user()).code == (422, "unprocessable")
    assert place(api, api.new_user(), model="lamp").code == (422, "unprocessable")


def test_a_hold_needs_a_user_and_a_key(api: Api) -> None:
    assert place(api, "nobody@example.com", 1).code == (404, "unknown_user")
    assert api.post(URL, {"user": api.new_user(), "amount": 1}).code == (400, "idempotency_key_required")
    twice = {"user": api.new_user(), "amount": 1, "idempotency_key": "a"}
    assert api.post(URL, twice, Idempotency_Key="b").code == (400, "idempotency_key_mismatch")


def test_a_user_in_demo_mode_holds_nothing(api: Api) -> None:
    user, key = api.new_user(demo_mode=True), new_key()
    for _ in range(2):
        answer = place(api, user, None, key, **SONNET, input_tokens=1000, max_output_tokens=500)
        assert (answer.status, answer.body["tracked"], answer.body["reason"]) == (200, False, "demo_mode")
        assert (answer.body["id"], answer.body["replayed"]) == (None, False)
        assert (answer.texts["amount"], answer.body["price"]["provider"]) == ("0.1125", "anthropic")
    assert place(api, user, 10**6, key).texts["amount"] == "1000000"
    unknown = place(api, user, action_type="chat", model="no-such-model")
    assert (unknown.status, unknown.body["amount"], unknown.body["price"]) == (200, None, None)
    assert api.get(f"/api/v1/admin/users/{user}/holds").body["holds"] == []
    user_id = api.get(f"/api/v1/admin/users/{user}").body["user"]["id"]
    captured = capture(api, f"hold_{user_id}_1")
    assert (captured.status, captured.body["tracked"], captured.texts["credits_charged"]) == (200, False, "4")


# --- capturing: whatever has become of a hold, the use is recorded in full


@pytest.mark.parametrize(
    ("credits_", "exceeded", "balance"), [("4", False, "96"), ("10", False, "90"), ("10.5", True, "89.5")]
)
def test_a_capture_charges_the_use_and_frees_the_rest(api: Api, credits_: str, *, exceeded: bool, balance: str) -> None:
    user = api.new_user()
    hold_id, other = placed(api, user, 10), placed(api, user, 7)
    answer = capture(api, hold_id, credits_)
    assert (answer.status, answer.body["outcome"], answer.texts["credits_charged"]) == (201, "recorded", credits_)
    assert answer.texts["hold"] == {"id": hold_id, "amount": "10", "exceeded_hold": exceeded, "late_capture": False}
    assert answer.texts["balance"] == balance
    assert figures(api, user) == (Decimal(balance), 7, Decimal(balance) - 7)
    shown = api.get(f"{URL}/{hold_id}").body
    assert (shown["state"], shown["event_id"]) == ("captured", answer.body["id"])
    assert shown["captured_at"] is not None
    assert api.get(f"{URL}/{other}").body["state"] == "open"


def test_a_capture_is_priced_as_any_charge(api: Api) -> None:
    user = api.new_user()
    hold = place(api, user, **SONNET, input_tokens=1000, max_output_tokens=500).body["id"]
    body = {**SONNET, "input_tokens": 1000, "output_tokens": 400, "cache_read_tokens": 100, "metadata": {"a": 1}}
    answer = api.post(f"{URL}/{hold}/capture", body, Idempotency_Key=new_key())
    assert (answer.status, answer.texts["credits_charged"]) == (201, "0.0873")
    assert answer.body["price"]["model"] == SONNET["model"]
    assert not answer.body["hold"]["exceeded_hold"]


def test_a_capture_is_recorded_although_the_credits_do_not_suffice(api: Api) -> None:
    user = api.new_user(monthly_allowance=5)
    answer = capture(api, placed(api, user, 5), 8)
    assert (answer.status, answer.texts["balance"], answer.body["overdrawn"]) == (201, "-3", True)


def test_a_repeated_capture_is_answered_as_the_first_time(api: Api) -> None:
    user, key = api.new_user(), new_key()
    hold_id = placed(api, user, 3)
    first = capture(api, hold_id, 4, key)
    api.charge(user)
    again = capture(api, hold_id, 4, key, description="said otherwise")
    assert (again.status, again.headers["idempotent-replayed"]) == (200, "true")
    assert without(again, "replayed", "outcome") == without(first, "replayed", "outcome")
    assert again.body["hold"]["exceeded_hold"]
    assert capture(api, hold_id, 5, key).code == (409, "idempotency_conflict")
    assert capture(api, placed(api, user, 3), 4, key).code == (409, "idempotency_conflict")
    assert api.charge(user, key, 4).code == (409, "idempotency_conflict")
    assert api.balance(user) == 95


def test_a_hold_is_captured_once(api: Api) -> None:
    user = api.new_user()
    hold_id = placed(api, user)
    capture(api, hold_id)
    assert capture(api, hold_id).code == (409, "hold_captured")
    assert api.post(f"{URL}/{hold_id}/release", None).code == (409, "hold_captured")
    assert api.balance(user) == 96


def test_a_refused_capture_leaves_the_hold_open(api: Api) -> None:
    user = api.new_user()
    hold_id = placed(api, user)
    assert capture(api, hold_id, -1).code == (422, "unprocessable")
    assert capture(api, hold_id, action_type="chat", model="no-such-model").code == (422, "unknown_model")
    assert figures(api, user) == (100, 10, 90)
    assert capture(api, hold_id).status == 201


def test_a_capture_after_the_release_is_recorded_and_says_so(api: Api) -> None:
    user = api.new_user()
    hold_id = placed(api, user)
    api.post(f"{URL}/{hold_id}/release", None)
    answer = capture(api, hold_id, 4)
    assert (answer.status, answer.body["hold"]["late_capture"]) == (201, True)
    assert figures(api, user) == (96, 0, 96)


def test_a_capture_after_the_end_is_recorded_and_says_so(api: Api, shared_ledger: Address) -> None:
    user = past_user(api, shared_ledger)
    hold_id = placed_at(shared_ledger, user, "2 hours", seconds=3600)
    assert api.get(f"{URL}/{hold_id}").body["state"] == "expired"
    assert figures(api, user) == (100, 0, 100)
    for _ in range(2):
        answer = capture(api, hold_id, 14, key=f"late-{user}")
        assert (answer.body["hold"]["late_capture"], answer.body["hold"]["exceeded_hold"]) == (True, True)
    assert figures(api, user) == (86, 0, 86)


def past_user(api: Api, address: Address) -> str:
    """Make a user of 20 days ago, whose books have been untouched since."""
    email = f"past-{new_key()}@example.com"
    with psycopg.connect(address.url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (email, created_at) VALUES (%s, now() - interval '20 days')", (email,))
    assert api.get(f"/api/v1/admin/users/{email}").status == 200
    return email


def placed_at(address: Address, email: str, ago: str, *, seconds: int) -> str:
    """Place a hold of 10 credits some time ago; returns its id."""
    query = (
        "SELECT users.id, hold_id FROM users, place_hold_at("
        "now() - %s::interval, users.id, %s, 10, %s, NULL, NULL, NULL, '{}') WHERE email = %s"
    )
    with psycopg.connect(address.url, autocommit=True) as connection:
        found = connection.execute(query, (ago, new_key(), seconds, email)).fetchone()
    assert found is not None
    user_id, hold_id = found
    return f"hold_{user_id}_{hold_id}"


@pytest.mark.parametrize("hold_id", ["hold_999999999_1", "hold_1_999999999"])
def test_a_hold_that_is_not_there_is_unknown(api: Api, hold_id: str) -> None:
    assert api.get(f"{URL}/{hold_id}").code == (404, "unknown_hold")
    assert api.post(f"{URL}/{hold_id}/release", None).code == (404, "unknown_hold")
    assert api.post(f"{URL}/{hold_id}/renew", {}).code == (404, "unknown_hold")
    code = "unknown_hold" if hold_id.startswith("hold_1_") else "unknown_user"
    assert capture(api, hold_id).code == (404, code)


@pytest.mark.parametrize("hold_id", ["hold_1_9223372036854775808", "hold_9999999999999999999_1", "hold_1", "12"])
def test_what_is_no_holds_id_is_said_to_be_none(api: Api, hold_id: str) -> None:
    """Taken out: the check of the numbers in `_checked`; the answer was 500."""
    assert api.get(f"{URL}/{hold_id}").code == (422, "unprocessable")
    assert capture(api, hold_id).code == (422, "unprocessable")


def test_a_capture_needs_a_key_and_the_right_to_name_a_cost(api: Api) -> None:
    hold_id = placed(api, api.new_user())
    body = {"action_type": "unit"}
    assert api.post(f"{URL}/{hold_id}/capture", body).code == (400, "idempotency_key_required")
    keyed = {**body, "idempotency_key": "a"}
    assert api.post(f"{URL}/{hold_id}/capture", keyed, Idempotency_Key="b").code == (400, "idempotency_key_mismatch")
    writer = api.with_token(api.new_service_token("usage:write"))
    assert capture(writer, hold_id, api_cost=1).code == (403, "forbidden")
    assert capture(writer, hold_id).status == 201


# --- releasing, renewing


def test_a_released_hold_counts_no_more_and_may_be_released_again(api: Api) -> None:
    user = api.new_user()
    hold_id = placed(api, user)
    answers = [api.post(f"{URL}/{hold_id}/release", None) for _ in range(2)]
    assert [(answer.status, answer.body["outcome"], answer.body["state"]) for answer in answers] == [
        (200, "released", "released")
    ] * 2
    assert [answer.texts["available"] for answer in answers] == ["100", "100"]
    assert set(answers[0].body) == HOLD
    assert figures(api, user) == (100, 0, 100)
    assert api.get(f"{URL}/{hold_id}").body["released_at"] is not None


def test_an_expired_hold_may_be_released(api: Api, shared_ledger: Address) -> None:
    user = past_user(api, shared_ledger)
    answer = api.post(f"{URL}/{placed_at(shared_ledger, user, '1 hour', seconds=60)}/release", None)
    assert (answer.status, answer.body["outcome"], answer.body["state"]) == (200, "released", "expired")


def test_a_renewed_hold_lasts_from_now_on_and_never_less_long(api: Api) -> None:
    hold = place(api, api.new_user(), 10, ttl_seconds=60).body
    renewed = api.post(f"{URL}/{hold['id']}/renew", {"ttl_seconds": 3600})
    assert (renewed.status, renewed.body["outcome"], set(renewed.body)) == (200, "renewed", HOLD)
    assert time(renewed.body["expires_at"]) - time(hold["created_at"]) >= timedelta(hours=1)
    assert renewed.body["created_at"] == hold["created_at"]
    shorter = api.post(f"{URL}/{hold['id']}/renew", {"ttl_seconds": 1})
    assert shorter.body["expires_at"] == renewed.body["expires_at"]
    assert api.post(f"{URL}/{hold['id']}/renew", {"ttl_seconds": 86401}).code == (422, "unprocessable")


def test_no_hold_lasts_longer_than_seven_days(api: Api, shared_ledger: Address) -> None:
    user = past_user(api, shared_ledger)
    hold_id = placed_at(shared_ledger, user, "6 days 12 hours", seconds=6 * 86400 + 13 * 3600)
    renewed = api.post(f"{URL}/{hold_id}/renew", {"ttl_seconds": 86400}).body
    assert time(renewed["expires_at"]) - time(renewed["created_at"]) == timedelta(days=7)


def test_only_an_open_hold_is_renewed(api: Api, shared_ledger: Address) -> None:
    user = past_user(api, shared_ledger)
    expired = placed_at(shared_ledger, user, "1 hour", seconds=60)
    released = placed(api, user)
    api.post(f"{URL}/{released}/release", None)
    for hold_id in (expired, released):
        assert api.post(f"{URL}/{hold_id}/renew", {}).code == (409, "hold_not_open")


# --- somebody else has the balance


def test_a_locked_balance_is_answered_busy_by_every_verb(api: Api, shared_ledger: Address) -> None:
    user, other = api.new_user(), api.new_user()
    hold_id = placed(api, user)
    event = api.charge(user).body["id"]
    act = {
        "user": user,
        "event_id": event,
        "amount": 1,
        "kind": "promotion",
        "reason": "r",
        "idempotency_key": "locked",
    }
    verbs = [
        ("holds", ["user", "amount"]), ("admin/grants", ["user", "amount", "kind"]),
        ("admin/adjustments", ["user", "amount", "reason"]), ("admin/refunds", ["user", "event_id", "reason"]),
        ("admin/voids", ["user", "event_id", "reason"]),
    ]  # fmt: skip
    with psycopg.connect(shared_ledger.url) as connection:
        connection.execute(
            "SELECT FROM user_credit_balances WHERE user_id = (SELECT id FROM users WHERE email = %s) FOR UPDATE",
            (user,),
        )
        answers = [
            api.post(f"/api/v1/{path}", {name: act[name] for name in [*names, "idempotency_key"]})
            for path, names in verbs
        ]
        answers += [
            api.post(f"{URL}/{hold_id}/{verb}", {} if verb == "renew" else None) for verb in ("renew", "release")
        ]
        assert [answer.code for answer in answers] == [(503, "busy")] * 7
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert place(api, other, 1).status == 201
    assert figures(api, user) == (99, 10, 89)


# --- lists


def test_a_users_holds_are_listed_newest_first_page_by_page_and_by_state(api: Api) -> None:
    user = api.new_user()
    made = [placed(api, user, amount, description=f"number {amount}") for amount in (1, 2, 3)]
    capture(api, made[1], 2)
    url = f"/api/v1/admin/users/{user}/holds"
    whole = api.get(url).body
    assert [hold["id"] for hold in whole["holds"]] == made[::-1]
    assert [hold["state"] for hold in whole["holds"]] == ["open", "captured", "open"]
    assert (whole["count"], whole["next_cursor"]) == (3, None)
    assert whole["holds"][0]["description"] == "number 3"
    first = api.get(url, limit=2).body
    rest = api.get(url, limit=2, cursor=first["next_cursor"]).body
    assert [*first["holds"], *rest["holds"]] == whole["holds"]
    assert [hold["id"] for hold in api.get(url, state="open").body["holds"]] == [made[2], made[0]]
    assert [hold["id"] for hold in api.get(url, state="captured").body["holds"]] == [made[1]]
    assert api.get(url, state="nonsense").code == (422, "unprocessable")


@pytest.mark.anyio
async def test_open_holds_are_figures_of_the_service(ledger: Ledger, ledger_address: Address) -> None:
    user = await create_user(ledger, "held@example.com", created_at=datetime.now(UTC) - timedelta(days=20))
    placed_at(ledger_address, user.email, "1 hour", seconds=60)
    for amount in ("1.5", "2"):
        await place_hold(ledger, NewHold(user_id=user.id, idempotency_key=amount, seconds=60, amount=Decimal(amount)))
    vitals = await read_vitals(ledger)
    assert (vitals.open_holds, vitals.held_credits) == (2, Decimal("3.5"))
