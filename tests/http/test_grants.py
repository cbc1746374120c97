"""Grants and adjustments on the wire, and the lists of lots and ledger entries that they show up in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.http.api import Answer, new_key
from tests.http.test_holds import figures, placed, time, without

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from groat_server.database import Address
    from tests.http.api import Api

GRANTS, ADJUSTMENTS = "/api/v1/admin/grants", "/api/v1/admin/adjustments"
GRANT = {
    "outcome", "replayed", "lot_id", "kind", "amount", "priority", "cost_basis", "starts_at", "expires_at",
    "recorded_at", "version", "balance", "held", "available", "next_reset_at",
}  # fmt: skip


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


def grant(api: Api, user: object, amount: object = 10, key: str | None = None, **fields: object) -> Answer:
    """Grant credits."""
    body = {"user": user, "kind": "purchase", "amount": amount, **fields}
    return api.post(GRANTS, {**body, "idempotency_key": new_key() if key is None else key})


def adjust(api: Api, user: object, amount: object = 10, key: str | None = None, **fields: object) -> Answer:
    """Adjust a balance."""
    body = {"user": user, "amount": amount, "reason": "as agreed", **fields}
    return api.post(ADJUSTMENTS, {**body, "idempotency_key": new_key() if key is None else key})


def lots(api: Api, user: str) -> list[Any]:
    found: list[Any] = api.get(f"/api/v1/admin/users/{user}/lots").body["lots"]
    return found


def entries(api: Api, user: str) -> list[Any]:
    found: list[Any] = api.get(f"/api/v1/admin/users/{user}/ledger").body["entries"]
    return found


def test_a_grant_adds_credits_and_says_what_there_is(api: Api) -> None:
    user = api.new_user()
    placed(api, user, 5)
    answer = grant(api, user, "20.5", cost_basis="0.08", expires_at=in_days(90), reason="invoice 7")
    assert (answer.status, set(answer.body)) == (201, GRANT)
    told = ("amount", "priority", "cost_basis", "version", "balance", "held", "available")
    assert [answer.texts[name] for name in told] == ["20.5", "50", "0.08", "2", "120.5", "5", "115.5"]
    assert (answer.body["outcome"], answer.body["kind"], answer.body["replayed"]) == ("granted", "purchase", False)
    assert answer.body["starts_at"] == answer.body["recorded_at"]
    newest, _ = entries(api, user)
    assert (newest["kind"], newest["amount"], newest["balance_after"]) == (
        "purchase",
        Decimal("20.5"),
        Decimal("120.5"),
    )
    assert (newest["reason"], newest["lot_id"]) == ("invoice 7", answer.body["lot_id"])
    assert newest["actor"].startswith("token:")


def test_a_promotion_is_spent_before_a_purchase(api: Api) -> None:
    assert grant(api, api.new_user(), kind="promotion").body["priority"] == 20
    assert grant(api, api.new_user(), kind="promotion", priority=0).body["priority"] == 0


def test_a_grant_for_later_is_scheduled_and_not_there_yet(api: Api) -> None:
    user = api.new_user()
    answer = grant(api, user, 10, starts_at=in_days(1), expires_at=in_days(2))
    assert (answer.status, answer.body["outcome"], answer.texts["balance"]) == (201, "scheduled", "100")
    scheduled, _ = lots(api, user)
    assert (scheduled["version"], scheduled["remaining"]) == (None, 10)
    assert [entry["kind"] for entry in entries(api, user)] == ["allowance"]


def test_credits_that_could_not_be_used_are_not_granted(api: Api) -> None:
    user, key = api.new_user(), new_key()
    assert grant(api, user, key=key, expires_at=in_days(-1)).code == (422, "expires_too_early")
    assert grant(api, user, key=key, starts_at=in_days(2), expires_at=in_days(1)).code == (422, "expires_too_early")
    assert adjust(api, user, key=key, expires_at=in_days(-1)).code == (422, "expires_too_early")
    assert grant(api, user, key=key).status == 201


@pytest.mark.parametrize("give", [grant, adjust])
def test_a_repeat_is_answered_as_the_first_time_and_gives_nothing_more(api: Api, give: Any) -> None:
    user, key = api.new_user(), new_key()
    first = give(api, user, 10, key, expires_at="2099-01-01T00:00:00Z")
    api.charge(user)
    again = give(api, user, "10.0", key, expires_at="2099-01-01T01:00:00+01:00", reason="said otherwise")
    assert (first.status, again.status, again.headers["idempotent-replayed"]) == (201, 200, "true")
    assert without(again, "replayed") == without(first, "replayed")
    assert (first.body["replayed"], again.body["replayed"]) == (False, True)
    assert api.balance(user) == 109


@pytest.mark.parametrize(
    "change", [{"amount": 11}, {"kind": "promotion"}, {"priority": 50}, {"cost_basis": 1}, {"expires_at": in_days(1)}]
)
def test_a_key_with_another_grant_is_a_conflict(api: Api, change: Mapping[str, Any]) -> None:
    user, key = api.new_user(), new_key()
    grant(api, user, 10, key)
    assert grant(api, user, **{"amount": 10, "key": key, **change}).code == (409, "idempotency_conflict")
    assert api.balance(user) == 110


def test_a_key_is_one_for_all_verbs(api: Api) -> None:
    """Each verb takes a key, and every other verb refuses it then."""
    user = api.new_user()
    event = api.charge(user, credits_=2).body["id"]
    undo = {"user": user, "event_id": event, "reason": "as agreed"}
    verbs: dict[str, Callable[[str], Answer]] = {
        "charge": lambda key: api.charge(user, key),
        "hold": lambda key: api.post("/api/v1/holds", {"user": user, "amount": 1, "idempotency_key": key}),
        "grant": lambda key: grant(api, user, 1, key),
        "adjustment": lambda key: adjust(api, user, 1, key),
        "refund": lambda key: api.post("/api/v1/admin/refunds", {**undo, "amount": "0.1", "idempotency_key": key}),
    }
    for first, take in verbs.items():
        key = new_key()
        assert take(key).status == 201, first
        for other, try_ in verbs.items():
            if other != first:
                assert try_(key).code == (409, "idempotency_conflict"), (first, other)
        void = api.post("/api/v1/admin/voids", {**undo, "idempotency_key": key})
        assert void.code == (409, "idempotency_conflict"), first


def test_an_adjustment_goes_either_way(api: Api) -> None:
    user = api.new_user()
    up = adjust(api, user, "2.5", expires_at=in_days(1))
    assert (up.status, up.body["outcome"], up.texts["balance"]) == (201, "adjusted", "102.5")
    assert up.body["lot_id"] is not None
    down = adjust(api, user, "-110.5")
    assert (down.status, down.texts["amount"], down.texts["balance"]) == (201, "-110.5", "-8")
    assert (down.body["lot_id"], down.body["expires_at"]) == (None, None)
    assert [(entry["kind"], entry["amount"]) for entry in entries(api, user)][:2] == [
        ("adjustment", Decimal("-110.5")), ("adjustment", Decimal("2.5")),
    ]  # fmt: skip
    assert grant(api, user, 10).texts["balance"] == "2"


@pytest.mark.parametrize(
    ("url", "change"),
    [
        (GRANTS, {"amount": 0}), (GRANTS, {"amount": -1}), (GRANTS, {"amount": 10**12 + 1}), (GRANTS, {"kind": "gift"}),
        (GRANTS, {"kind": "allowance"}), (GRANTS, {"priority": 101}), (GRANTS, {"priority": "5"}),
        (GRANTS, {"cost_basis": -1}), (GRANTS, {"starts_at": "tomorrow"}), (GRANTS, {"actor": "me"}),
        (ADJUSTMENTS, {"amount": 0}), (ADJUSTMENTS, {"amount": "0.0000000000001"}), (ADJUSTMENTS, {"reason": ""}),
        (ADJUSTMENTS, {"amount": -1, "expires_at": "2099-01-01T00:00:00Z"}), (ADJUSTMENTS, {"reason": "x" * 501}),
    ],
)  # fmt: skip
def test_what_is_no_grant_and_no_adjustment_is_refused(api: Api, url: str, change: Mapping[str, object]) -> None:
    user = api.new_user()
    body = {"user": user, "amount": 1, "reason": "r", "idempotency_key": new_key()}
    if url == GRANTS:
        body["kind"] = "promotion"
    assert api.post(url, {**body, **change}).code == (422, "unprocessable")
    assert api.balance(user) == 100


def test_an_adjustment_needs_a_reason(api: Api) -> None:
    body = {"user": api.new_user(), "amount": 1, "idempotency_key": new_key()}
    assert api.post(ADJUSTMENTS, body).code == (422, "unprocessable")


@pytest.mark.parametrize(
    "path", ["/api/v1/holds", GRANTS, ADJUSTMENTS, "/api/v1/admin/refunds", "/api/v1/admin/voids", "/api/v1/usage"]
)
def test_every_route_that_moves_credits_needs_one_key(api: Api, path: str) -> None:
    user = api.new_user()
    event = {"event_id": api.charge(user, credits_=2).body["id"], "reason": "r"}
    bodies: dict[str, dict[str, Any]] = {
        "holds": {"amount": 1},
        "grants": {"amount": 1, "kind": "promotion"},
        "adjustments": {"amount": 1, "reason": "r"},
        "refunds": event,
        "voids": event,
        "usage": {"action_type": "unit"},
    }
    body = {"user": user, **bodies[path.rpartition("/")[2]]}
    assert api.post(path, body).code == (400, "idempotency_key_required")
    both = api.post(path, {**body, "idempotency_key": "a"}, Idempotency_Key="b")
    assert both.code == (400, "idempotency_key_mismatch")
    assert api.balance(user) == 98
    assert api.post(path, {**body, "idempotency_key": "same"}, Idempotency_Key="same").status == 201


def test_nobody_and_a_user_in_demo_mode_get_nothing(api: Api) -> None:
    for give in (grant, adjust):
        assert give(api, "nobody@example.com").code == (404, "unknown_user")
        assert give(api, api.new_user(demo_mode=True)).code == (409, "demo_mode")


def test_a_balance_has_an_end(api: Api, shared_ledger: Address) -> None:
    user = api.new_user()
    with psycopg.connect(shared_ledger.url, autocommit=True) as connection:
        connection.execute(
            "SELECT grant_credits(id, 'much', 'promotion', 999999999999000, NULL, NULL, NULL, NULL, NULL, 'test')"
            " FROM users WHERE email = %s",
            (user,),
        )
    refused = grant(api, user, 10**12)
    assert refused.code == (422, "balance_out_of_bounds")
    assert grant(api, user, 1).status == 201


# --- lists


def test_lots_show_what_is_left_as_of_now(api: Api) -> None:
    """Taken out: what was consumed since the last boundary, from sql/lots/list.sql."""
    user = api.new_user(monthly_allowance=10)
    grant(api, user, 20)
    grant(api, user, 5, kind="promotion")
    api.charge(user, credits_=12)
    promotion, purchase, allowance = lots(api, user)
    assert [(lot["kind"], lot["amount"], lot["remaining"]) for lot in (allowance, promotion, purchase)] == [
        ("allowance", 10, 0), ("promotion", 5, 3), ("purchase", 20, 20),
    ]  # fmt: skip
    api.charge(user, credits_="25.5")
    assert [lot["remaining"] for lot in lots(api, user)] == [0, 0, 0]
    grant(api, user, 5)
    newest, *others = lots(api, user)
    assert [newest["remaining"], *(lot["remaining"] for lot in others)] == [Decimal("2.5"), 0, 0, 0]
    assert figures(api, user)[0] == Decimal("2.5")
    assert time(allowance["expires_at"]) > datetime.now(UTC)


@pytest.mark.parametrize(("name", "column"), [("lots", "lots"), ("ledger", "entries")])
def test_what_is_due_has_happened_before_it_is_listed(api: Api, shared_ledger: Address, name: str, column: str) -> None:
    """Taken out: `settle` in operations/accounts.py."""
    email = f"due-{new_key()}@example.com"
    with psycopg.connect(shared_ledger.url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (email, created_at) VALUES (%s, now() - interval '40 days')", (email,))
    rows = api.get(f"/api/v1/admin/users/{email}/{name}").body[column]
    assert [row["kind"] for row in rows] == {
        "lots": ["allowance", "allowance"], "ledger": ["allowance", "expiry", "allowance"],
    }[name]  # fmt: skip


@pytest.mark.parametrize(("name", "column"), [("lots", "lots"), ("ledger", "entries")])
def test_lists_come_page_by_page_newest_first(api: Api, name: str, column: str) -> None:
    user = api.new_user()
    for amount in (1, 2, 3):
        grant(api, user, amount)
    url = f"/api/v1/admin/users/{user}/{name}"
    whole = api.get(url).body
    assert [row["amount"] for row in whole[column]] == [3, 2, 1, 100]
    assert (whole["count"], whole["next_cursor"]) == (4, None)
    first = api.get(url, limit=3).body
    rest = api.get(url, limit=3, cursor=first["next_cursor"]).body
    assert [*first[column], *rest[column]] == whole[column]
    assert rest["next_cursor"] is None
    assert api.get(f"/api/v1/admin/users/nobody@example.com/{name}").code == (404, "unknown_user")
