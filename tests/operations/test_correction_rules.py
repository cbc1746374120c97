"""Refunds and voids: what goes back where, to the credit, by the SQL functions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operations.account import RESET, SqlAccount, day
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from groat_server.database import Address
    from tests.operations.account import Row


@pytest.fixture
def account(ledger_address: Address) -> Iterator[SqlAccount]:
    """Lend an account of 100 credits a month."""
    with connect(ledger_address) as connection:
        yield SqlAccount.open(connection)


def test_a_refund_gives_back_what_was_drawn_last_first(account: SqlAccount) -> None:
    account.grant("bought", 50, day(1))
    event = account.charge("use", 120, day(2))["event_id"]
    answer = account.refund("part", event, 30, day(3))
    assert (answer["outcome"], answer["amount"], answer["balance"]) == ("refunded", 30, 60)
    assert account.lots == [("allowance", 10), ("purchase", 50)]
    assert account.entries[-1] == ("refund", 30, day(3))


def test_the_next_refund_goes_on_where_the_last_one_ended(account: SqlAccount) -> None:
    account.grant("bought", 50, day(1))
    event = account.charge("use", 120, day(2))["event_id"]
    account.refund("a", event, 15, day(3))
    account.refund("b", event, 15, day(3))
    assert account.lots == [("allowance", 10), ("purchase", 50)]
    rest = account.refund("rest", event, None, day(3))
    assert (rest["amount"], account.lots) == (90, [("allowance", 100), ("purchase", 50)])


def test_refunds_together_never_exceed_the_charge(account: SqlAccount) -> None:
    event = account.charge("use", 20, day(1))["event_id"]
    assert account.refund("more", event, 21, day(2))["outcome"] == "refund_exceeds_charge"
    assert account.refund("a", event, 15, day(2))["outcome"] == "refunded"
    assert account.refund("b", event, 6, day(2))["outcome"] == "refund_exceeds_charge"
    assert account.refund("c", event, 5, day(2))["outcome"] == "refunded"
    assert account.refund("d", event, None, day(2))["outcome"] == "nothing_to_refund"
    assert account.credits == 100


def test_a_refund_reaches_the_place_of_its_event_and_no_other(account: SqlAccount) -> None:
    """Taken out: that a void's credits count in the place of later events; the refund then went to the wrong lot."""
    account.grant("bought", 50, day(1))
    first = account.charge("first", 60, day(2))["event_id"]
    account.adjust("less", -20, day(2))
    second = account.charge("second", 30, day(2))["event_id"]
    third = account.charge("third", 20, day(2))["event_id"]
    account.refund("refund second", second, None, day(3))
    assert account.lots == [("allowance", 20), ("purchase", 30)]
    account.void("void first", first, day(3))
    last = account.charge("last", 5, day(4))["event_id"]
    account.refund("refund third", third, None, day(5))
    assert account.lots == [("allowance", 75), ("purchase", 50)]
    account.refund("refund last", last, None, day(5))
    assert account.lots == [("allowance", 80), ("purchase", 50)]


def test_what_was_drawn_from_an_expired_lot_goes_to_a_new_one_of_its_kind(account: SqlAccount) -> None:
    account.grant("promotion", 50, day(1), kind="promotion", priority=5, cost="0.25", expires=day(5))
    event = account.charge("use", 40, day(2))["event_id"]
    answer = account.refund("late", event, 30, day(6))
    (lot,) = account.rows("SELECT * FROM credit_lots WHERE user_id = %s AND kind = 'refund'", account.user_id)
    assert (lot["amount"], lot["remaining"], lot["priority"], str(lot["cost_basis"])) == (30, 30, 5, "0.25")
    assert (lot["starts_at"], lot["expires_at"], lot["version"]) == (day(6), day(36), answer["version"])


def test_a_new_lot_lasts_to_the_reset_where_that_is_later(account: SqlAccount) -> None:
    account.grant("promotion", 50, day(-0.5), kind="promotion", priority=5, expires=day(0.5))
    event = account.charge("use", 40, day(0.4))["event_id"]
    account.refund("late", event, None, day(0.5))
    (lot,) = account.rows("SELECT * FROM credit_lots WHERE user_id = %s AND kind = 'refund'", account.user_id)
    assert lot["expires_at"] == RESET


def test_a_refund_cancels_the_debt_that_is_still_owed(account: SqlAccount) -> None:
    event = account.charge("use", 130, day(1))["event_id"]
    account.charge("more", 10, day(1))
    account.refund("part", event, 20, day(2))
    assert (account.credits, account.lots) == (-20, [])
    assert account.draws == [("allowance", 0, 100), (None, 100, 10), (None, 130, 10)]
    account.refund("rest", event, None, day(3))
    assert account.draws[-1] == ("allowance", 130, 10)
    assert (account.credits, account.lots) == (90, [("allowance", 90)])


def test_a_refund_takes_its_event_out_of_no_total(account: SqlAccount) -> None:
    event = account.charge("use", 30, day(1))["event_id"]
    account.refund("all", event, None, day(2))
    found = account.balance
    assert (found["total_consumed"], found["current_month_consumed"], found["total_voided"]) == (30, 30, 0)


def test_a_void_takes_its_event_out_of_every_total(account: SqlAccount) -> None:
    account.charge("stays", 5, day(1))
    event = account.charge("use", 30, day(2), occurred=str(day(2)))["event_id"]
    answer = account.void("void", event, day(3))
    assert (answer["outcome"], answer["amount"], answer["balance"]) == ("voided", 30, 95)
    found = account.balance
    assert (found["total_consumed"], found["current_month_consumed"], found["total_voided"]) == (5, 5, 30)
    assert (found["last_event_at"], found["version"]) == (day(1), answer["version"])
    assert account.rows("SELECT FROM credit_usage_events WHERE id = %s", event) == []
    (moved,) = account.rows("SELECT * FROM voided_credit_usage_events WHERE id = %s", event)
    assert (moved["void_version"], moved["void_balance_after"], moved["voided_at"]) == (answer["version"], 95, day(3))
    assert (moved["void_reason"], moved["voided_by"], moved["idempotency_key"]) == ("reason", "token:1", "use")


def test_a_void_of_an_earlier_period_leaves_the_current_one_alone(account: SqlAccount) -> None:
    event = account.charge("old", 30, day(1))["event_id"]
    account.settle(RESET)
    account.charge("new", 7, RESET)
    account.void("void", event, day(40))
    assert account.balance["current_month_consumed"] == 7
    assert account.lots == [("allowance", 93), ("refund", 30)]


def test_a_void_and_a_refund_exclude_each_other(account: SqlAccount) -> None:
    refunded = account.charge("a", 10, day(1))["event_id"]
    voided = account.charge("b", 10, day(1))["event_id"]
    account.refund("refund", refunded, 1, day(2))
    assert account.void("x", refunded, day(3))["outcome"] == "event_refunded"
    account.void("void", voided, day(3))
    assert account.void("y", voided, day(3))["outcome"] == "event_voided"
    assert account.refund("z", voided, 1, day(3))["outcome"] == "event_voided"
    assert account.refund("none", 10**9, 1, day(3))["outcome"] == "unknown_event"


def test_nobody_elses_event_can_be_given_back(account: SqlAccount) -> None:
    other = SqlAccount.open(account.connection)
    event = other.charge("use", 10, day(1))["event_id"]
    assert account.refund("a", event, 1, day(2))["outcome"] == "unknown_event"
    assert account.void("b", event, day(2))["outcome"] == "unknown_event"


def test_an_event_of_nothing_can_be_voided_but_not_refunded(account: SqlAccount) -> None:
    event = account.charge("nothing", 0, day(1))["event_id"]
    assert account.refund("refund", event, None, day(2))["outcome"] == "nothing_to_refund"
    assert account.void("void", event, day(2))["outcome"] == "voided"


def test_the_key_of_a_voided_event_stays_taken(account: SqlAccount) -> None:
    event = account.charge("use", 10, day(1))["event_id"]
    account.void("void", event, day(2))
    again = account.charge("use", 10, day(3))
    assert (again["outcome"], again["event_id"], again["voided"]) == ("replayed", event, True)
    assert account.charge("use", 10, day(3), inputs=1)["outcome"] == "idempotency_conflict"
    assert account.grant("use", 10, day(3))["outcome"] == "idempotency_conflict"
    assert account.credits == 100


def test_every_verb_answers_a_repeat_as_it_answered_first(account: SqlAccount) -> None:
    event, other = (account.charge(key, 10, day(1))["event_id"] for key in ("a", "b"))
    acts: list[Callable[[datetime], Row]] = [
        lambda at: account.grant("grant", 5, at),
        lambda at: account.adjust("adjust", -5, at),
        lambda at: account.refund("refund", event, None, at),
        lambda at: account.void("void", other, at),
        lambda at: account.hold("hold", 5, at),
        lambda at: account.set_terms(at, "terms", allowance=120, grant_now=True),
    ]
    firsts = [act(day(2)) for act in acts]
    before = account.balance
    repeats = [act(day(3)) for act in acts]
    assert repeats == [first | {"replayed": True} for first in firsts]
    assert account.balance == before | {"last_recorded_at": account.balance["last_recorded_at"]}


def test_one_key_is_one_act_of_one_verb(account: SqlAccount) -> None:
    account.grant("key", 5, day(1))
    event = account.charge("charge", 10, day(1))["event_id"]
    conflicts = [
        account.grant("key", 6, day(2)),
        account.grant("key", 5, day(2), kind="promotion"),
        account.adjust("key", 5, day(2)),
        account.refund("key", event, 5, day(2)),
        account.void("key", event, day(2)),
        account.hold("key", 5, day(2)),
        account.charge("key", 5, day(2)),
        account.grant("charge", 10, day(2)),
    ]
    assert {answer["outcome"] for answer in conflicts} == {"idempotency_conflict"}
    assert account.credits == 95
    account.refund("give back", event, None, day(3))
    assert account.void("give back", event, day(3))["outcome"] == "idempotency_conflict"


@pytest.mark.parametrize("demo_mode", [True, False])
def test_who_has_no_balance_is_given_and_refunded_nothing(account: SqlAccount, *, demo_mode: bool) -> None:
    other = SqlAccount.open(account.connection, demo_mode=True) if demo_mode else SqlAccount(account.connection, 10**9)
    expected = "demo_mode" if demo_mode else "unknown_user"
    assert other.grant("a", 1, day(1))["outcome"] == expected
    assert other.adjust("b", 1, day(1))["outcome"] == expected
    assert other.void("c", 1, day(1))["outcome"] == expected
    assert other.set_terms(day(1), allowance=5)["outcome"] == expected
    assert other.hold("d", 1, day(1))["outcome"] == ("untracked" if demo_mode else "unknown_user")


def test_every_act_of_an_administrator_is_in_the_audit_log_with_its_reason(account: SqlAccount) -> None:
    event, other = (account.charge(key, 10, day(1))["event_id"] for key in ("a", "b"))
    account.grant("grant", 5, day(2))
    account.adjust("adjust", -5, day(2))
    account.refund("refund", event, 3, day(2))
    account.void("void", other, day(2))
    account.set_terms(day(2), overdraft=7)
    found = account.rows(
        "SELECT act, details FROM audit_log WHERE user_id = %s AND actor = 'token:1' ORDER BY id", account.user_id
    )
    assert [row["act"] for row in found] == ["grant", "adjustment", "refund", "void", "terms"]
    assert [row["details"].get("reason") for row in found] == ["reason"] * 4 + [None]
    assert [row["details"].get("amount") for row in found] == [5, -5, 3, 10, None]
    assert found[-1]["details"] == {"overdraft_limit": 7}


def test_nothing_is_booked_before_the_last_booking(account: SqlAccount) -> None:
    event = account.charge("use", 10, day(5))["event_id"]
    for answer in (
        account.grant("grant", 5, day(1)),
        account.adjust("adjust", 5, day(1)),
        account.refund("refund", event, 1, day(1)),
        account.hold("hold", 1, day(1)),
        account.set_terms(day(1), "terms", overdraft=1),
    ):
        assert answer["recorded_at"] == day(5)
