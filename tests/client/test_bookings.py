"""Grants, adjustments, refunds and voids: what is sent, what comes back, once for each key."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import groat

if TYPE_CHECKING:
    from tests.client.conftest import Script

GRANTED = b"""{"outcome": "granted", "replayed": false, "lot_id": 5, "kind": "purchase", "amount": 50.5, "priority": 50,
"cost_basis": 0.08, "starts_at": "2025-01-09T15:30:00Z", "expires_at": null, "recorded_at": "2025-01-09T15:30:00Z",
"version": 4, "balance": 150.5, "held": 1, "available": 149.5, "next_reset_at": "2025-02-01T00:00:00Z"}"""
REFUNDED = b"""{"outcome": "refunded", "replayed": true, "event_id": 41, "amount": 0.1, "version": 5, "balance": 100,
"recorded_at": "2025-01-09T15:30:00Z", "held": 0, "available": 100, "next_reset_at": "2025-02-01T00:00:00Z"}"""
AT = datetime(2025, 1, 9, 15, 30, tzinfo=UTC)

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any]]] = [
    ("grant", (50,), {"kind": "purchase"}, {"kind": "purchase", "amount": 50}),
    (
        "grant",
        (Decimal("50.50"),),
        {"kind": "promotion", "priority": 1, "cost_basis": "0.08", "starts_at": AT, "expires_at": AT, "reason": "r"},
        {
            "kind": "promotion",
            "amount": "50.50",
            "priority": 1,
            "cost_basis": "0.08",
            "starts_at": "2025-01-09T15:30:00+00:00",
            "expires_at": "2025-01-09T15:30:00+00:00",
            "reason": "r",
        },
    ),
    ("adjust", (-3,), {"reason": "r"}, {"amount": -3, "reason": "r"}),
    ("adjust", ("3",), {"reason": "r", "expires_at": AT}, {
        "amount": "3", "reason": "r", "expires_at": "2025-01-09T15:30:00+00:00",
    }),
    ("refund", (41,), {"reason": "r"}, {"event_id": 41, "reason": "r"}),
    ("refund", (41,), {"reason": "r", "amount": Decimal("5E-7")}, {
        "event_id": 41, "amount": "0.0000005", "reason": "r",
    }),
    ("void", (41,), {"reason": "r"}, {"event_id": 41, "reason": "r"}),
]  # fmt: skip
PATHS = {
    "grant": "/api/v1/admin/grants",
    "adjust": "/api/v1/admin/adjustments",
    "refund": "/api/v1/admin/refunds",
    "void": "/api/v1/admin/voids",
}


@pytest.mark.parametrize(("method", "arguments", "named", "body"), CALLS)
def test_a_booking_sends_what_was_given_and_nothing_else(
    script: Script, method: str, arguments: tuple[Any, ...], named: dict[str, Any], body: dict[str, Any]
) -> None:
    script.answer(201, GRANTED)
    script.call(method, "user@example.com", *arguments, **named, idempotency_key="k")
    assert (script.requests[0].method, script.requests[0].url.path) == ("POST", PATHS[method])
    assert script.sent() == {"user": "user@example.com", **body, "idempotency_key": "k"}


@pytest.mark.parametrize(("method", "arguments", "named", "body"), CALLS)
def test_a_booking_without_a_key_gets_one_for_all_its_attempts(
    script: Script, method: str, arguments: tuple[Any, ...], named: dict[str, Any], body: dict[str, Any]
) -> None:
    script.replies = [httpx2.ReadTimeout("slow")] * 4
    with pytest.raises(groat.OutcomeUnknown) as unknown:
        script.call(method, 7, *arguments, **named)
    assert len({request.content for request in script.requests}) == 1
    assert uuid.UUID(unknown.value.idempotency_key).version == 4
    assert script.sent() == {"user": 7, **body, "idempotency_key": unknown.value.idempotency_key}


def test_a_grant_tells_its_lot_and_the_balance(script: Script) -> None:
    script.answer(201, GRANTED)
    assert script.call("grant", 7, 50, kind="purchase", idempotency_key="k") == groat.Booking(
        outcome="granted",
        amount=Decimal("50.5"),
        balance=Decimal("150.5"),
        available=Decimal("149.5"),
        idempotency_key="k",
        version=4,
        replayed=False,
        recorded_at=AT,
        lot_id=5,
        event_id=None,
        starts_at=AT,
        expires_at=None,
    )


def test_a_refund_tells_its_charge(script: Script) -> None:
    script.answer(200, REFUNDED)
    refund = script.call("refund", 7, 41, reason="r")
    assert (refund.outcome, refund.event_id, refund.lot_id, refund.replayed) == ("refunded", 41, None, True)


@pytest.mark.parametrize("named", [{"amount": 0.1}, {"amount": 1, "expires_at": datetime(2025, 1, 9)}])  # noqa: DTZ001
def test_what_is_not_exact_is_refused_before_it_is_sent(script: Script, named: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        script.call("adjust", 7, reason="r", **named)
    assert script.requests == []
