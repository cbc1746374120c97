"""What comes back: exact amounts, aware instants, and room for what a newer service adds."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from groat import Balance, Estimate, NoAnswer, OutcomeUnknown, Receipt, Refusal, Usage

if TYPE_CHECKING:
    from tests.client.conftest import Script

BALANCE = """{"current_balance": 85.23, "held": 5, "available": 80.23, "overdraft_limit": 0,
"monthly_allowance": 100, "current_month_consumed": 14.77, "total_consumed": 1014.77,
"next_reset_at": "2025-02-01T00:00:00Z", "version": 7, "news": {"of": ["later"]}}"""


def test_a_charge_gives_a_receipt(script: Script) -> None:
    script.answer(201, script.recorded)
    receipt = script.call("charge", 7, action="a", idempotency_key="k")
    price = receipt.price
    assert receipt == Receipt(
        outcome="recorded",
        credits_charged=Decimal("0.105"),
        api_cost=Decimal("0.0105"),
        idempotency_key="k",
        id=41,
        balance=Decimal("99.895"),
        available=Decimal("99.895"),
        version=1,
        created_at=datetime(2025, 1, 9, 15, 30, 0, 123456, tzinfo=UTC),
        price=price,
    )
    assert (price.cost_source, price.credits_per_dollar, price.multiplier) == ("model", 10, 1)
    assert price.members["rates"] == {"input": 3, "output": Decimal("15.5")}
    assert {hash(receipt), hash(pickle.loads(pickle.dumps(receipt)))} == {hash(receipt)}  # noqa: S301 (our own)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("0.105", "0.105"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("123456789012.123456789012", "123456789012.123456789012"),
        ("-0.000000000001", "-0.000000000001"),
        ("5E-7", "0.0000005"),
        ("100", "100"),
        ("0", "0"),
    ],
)
def test_amounts_keep_every_digit_and_print_plainly(script: Script, text: str, plain: str) -> None:
    body = f'{{"id": 1, "outcome": "recorded", "credits_charged": 0, "balance": {text}}}'
    script.answer(201, body.encode())
    balance = script.call("charge", 7, action="a").balance
    assert isinstance(balance, Decimal)
    assert balance == Decimal(text)
    assert (str(balance), f"{balance}", f"{balance:.1f}") == (plain, plain, f"{Decimal(text):.1f}")


def test_a_repeated_key_gives_a_replayed_receipt(script: Script) -> None:
    body = b'{"id": 41, "outcome": "replayed", "credits_charged": 1, "replayed": true, "voided": true}'
    script.answer(200, body, {"Idempotent-Replayed": "true"})
    receipt = script.call("charge", 7, action="a", idempotency_key="k")
    assert (receipt.replayed, receipt.voided, receipt.tracked, receipt.id) == (True, True, True, 41)


def test_a_user_in_demo_mode_is_priced_and_not_tracked(script: Script) -> None:
    body = b"""{"tracked": false, "outcome": "untracked", "reason": "demo_mode",
    "credits_charged": 0.105, "api_cost": 0.0105, "price": {"cost_source": "model"}}"""
    script.answer(200, body)
    receipt = script.call("charge", 7, action="a")
    assert (receipt.tracked, receipt.reason) == (False, "demo_mode")
    assert receipt.credits_charged == Decimal("0.105")
    assert (receipt.id, receipt.balance, receipt.available, receipt.created_at) == (None,) * 4


def test_an_action_priced_in_credits_has_no_cost(script: Script) -> None:
    script.answer(201, b'{"id": 1, "outcome": "recorded", "credits_charged": 2, "api_cost": null}')
    assert script.call("charge", 7, action="a").api_cost is None


def test_a_batch_gives_a_result_for_each_usage_in_order(script: Script) -> None:
    script.answer(
        200,
        b"""{"results": [
        {"index": 2, "outcome": "untracked", "tracked": false, "credits_charged": 1},
        {"index": 0, "outcome": "recorded", "id": 5, "credits_charged": 0.1, "balance": -1.5,
         "overdrawn": true},
        {"index": 1, "outcome": "insufficient_credits", "required": 2.5, "available": 1,
         "detail": "Too little."},
        {"index": 3, "outcome": "replayed", "id": 4, "credits_charged": 3}],
        "recorded": 1, "replayed": 1, "refused": 1, "untracked": 1}""",
    )
    usages = [Usage(7, action="a", idempotency_key=f"k{index}") for index in range(4)]
    recorded, refused, untracked, replayed = script.call("charge_many", usages)
    assert isinstance(recorded, Receipt)
    assert (recorded.id, recorded.credits_charged, recorded.overdrawn) == (5, Decimal("0.1"), True)
    assert isinstance(refused, Refusal)
    assert (refused.outcome, refused.code, refused.detail, refused.idempotency_key) == (
        "insufficient_credits",
        "insufficient_credits",
        "Too little.",
        "k1",
    )
    assert refused.members["required"] == Decimal("2.5")
    assert (untracked.tracked, untracked.idempotency_key) == (False, "k2")
    assert (replayed.replayed, replayed.idempotency_key) == (True, "k3")


def test_an_estimate_has_the_price_and_nothing_of_a_balance(script: Script) -> None:
    script.answer(200, b'{"credits_charged": 0.0000005, "api_cost": 0.00000005, "price": {}}')
    estimate = script.call("estimate", action="a")
    assert isinstance(estimate, Estimate)
    assert (estimate.credits_charged, estimate.api_cost) == (Decimal("5E-7"), Decimal("5E-8"))


@pytest.mark.parametrize("body", [BALANCE, f'{{"user": {{"email": "u@example.com"}}, "balance": {BALANCE}}}'])
def test_a_balance_is_read_alone_or_within_its_user(script: Script, body: str) -> None:
    script.answer(200, body.encode())
    assert script.call("balance") == Balance(
        current_balance=Decimal("85.23"),
        held=Decimal(5),
        available=Decimal("80.23"),
        overdraft_limit=Decimal(0),
        monthly_allowance=Decimal(100),
        current_month_consumed=Decimal("14.77"),
        total_consumed=Decimal("1014.77"),
        next_reset_at=datetime(2025, 2, 1, tzinfo=UTC),
        version=7,
    )


UNREADABLE = [
    b"<html>Welcome to the hotel</html>",
    b"",
    b"[]",
    b"\xff\xfe",
    b'{"outcome": "recorded"}',
    b'{"outcome": "recorded", "credits_charged": "0.1"}',
    b'{"outcome": "recorded", "credits_charged": true}',
    b'{"outcome": "recorded", "credits_charged": NaN}',
    b'{"outcome": "recorded", "credits_charged": 1, "id": 1.5}',
    b'{"outcome": "recorded", "credits_charged": 1, "tracked": 1}',
    b'{"outcome": "recorded", "credits_charged": 1, "created_at": "yesterday"}',
    b'{"outcome": "recorded", "credits_charged": 1, "price": []}',
    b"[" * 100_000,
    b'{"outcome": "recorded", "credits_charged": 1e9999999999999999999}',
]


@pytest.mark.parametrize("body", UNREADABLE)
def test_a_receipt_that_cannot_be_read_leaves_the_outcome_unknown(script: Script, body: bytes) -> None:
    script.answer(200, body)
    with pytest.raises(OutcomeUnknown) as unknown:
        script.call("charge", 7, action="a", idempotency_key="k")
    assert unknown.value.idempotency_key == "k"


@pytest.mark.parametrize("body", [b'{"results": []}', b'{"results": {}}', b'{"results": [1]}', b"{}"])
def test_a_batchs_answer_has_to_be_about_the_batch(script: Script, body: bytes) -> None:
    script.answer(200, body)
    usages = [Usage(7, action="a", idempotency_key=key) for key in ("k0", "k1")]
    with pytest.raises(OutcomeUnknown) as unknown:
        script.call("charge_many", usages)
    assert unknown.value.idempotency_keys == ("k0", "k1")


@pytest.mark.parametrize("method", ["balance", "estimate"])
def test_a_question_whose_answer_cannot_be_read_has_no_answer(script: Script, method: str) -> None:
    script.answer(200, b"<html>")
    arguments = {"action": "a"} if method == "estimate" else {}
    with pytest.raises(NoAnswer, match="cannot be read"):
        script.call(method, **arguments)
