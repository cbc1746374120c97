"""Which credits are drawn first, when they come and go, and who pays debts: small cases, by the SQL functions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.operations.account import BIRTH, RESET, TICK, SqlAccount, day
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address


@pytest.fixture
def account(ledger_address: Address) -> Iterator[SqlAccount]:
    """Lend an account of 100 credits a month."""
    with connect(ledger_address) as connection:
        yield SqlAccount.open(connection)


@pytest.fixture
def empty(ledger_address: Address) -> Iterator[SqlAccount]:
    """Lend an account without an allowance."""
    with connect(ledger_address) as connection:
        yield SqlAccount.open(connection, 0)


def test_the_lower_priority_is_drawn_first(empty: SqlAccount) -> None:
    empty.grant("a", 10, day(1), priority=51)
    empty.grant("b", 10, day(2), kind="promotion", priority=50)
    empty.charge("use", 15, day(3))
    empty.grant("boundary", 1, day(4))
    assert empty.lots == [("purchase", 5), ("purchase", 1)]


def test_what_expires_sooner_is_drawn_first_and_what_never_does_last(empty: SqlAccount) -> None:
    empty.grant("never", 10, day(1))
    empty.grant("late", 10, day(1), kind="promotion", priority=50, expires=day(60))
    empty.grant("soon", 10, day(1), kind="promotion", priority=50, expires=day(50))
    empty.charge("use", 15, day(3))
    empty.grant("boundary", 1, day(4))
    assert empty.lots == [("purchase", 10), ("promotion", 5), ("purchase", 1)]
    assert empty.draws == [("promotion", 0, 10), ("promotion", 10, 5)]


def test_what_was_free_is_drawn_before_what_was_paid_for(empty: SqlAccount) -> None:
    empty.grant("paid", 10, day(1), cost="0.10")
    empty.grant("free", 10, day(2), kind="promotion", priority=50, cost=0)
    empty.charge("use", 15, day(3))
    empty.grant("boundary", 1, day(4))
    assert empty.lots == [("purchase", 5), ("purchase", 1)]


def test_of_equals_the_one_that_started_first_is_drawn_first(empty: SqlAccount) -> None:
    empty.grant("scheduled", 10, day(1), kind="promotion", priority=50, starts=day(3))
    empty.grant("at once", 10, day(2))
    empty.charge("use", 15, day(4))
    empty.grant("boundary", 1, day(5))
    assert empty.lots == [("promotion", 5), ("purchase", 1)]


def test_priorities_are_those_of_the_kind_unless_said_otherwise(account: SqlAccount) -> None:
    assert account.grant("a", 1, day(1))["priority"] == 50
    assert account.grant("b", 1, day(1), kind="promotion")["priority"] == 20
    assert account.grant("c", 1, day(1), priority=0)["priority"] == 0
    assert account.adjust("d", 1, day(1))["priority"] == 30
    found = account.rows("SELECT kind, priority FROM credit_lots WHERE user_id = %s ORDER BY id", account.user_id)
    assert [(row["kind"], row["priority"]) for row in found] == [
        ("allowance", 10), ("purchase", 50), ("promotion", 20), ("purchase", 0), ("adjustment", 30),
    ]  # fmt: skip


def test_the_allowance_expires_at_the_reset_and_purchases_stay(account: SqlAccount) -> None:
    account.grant("bought", 50, day(1))
    account.charge("use", 30, day(2))
    account.settle(RESET)
    assert account.entries[2:] == [("expiry", -70, RESET), ("allowance", 100, RESET)]
    assert account.lots == [("purchase", 50), ("allowance", 100)]
    assert (account.credits, account.balance["current_month_consumed"]) == (150, 0)


def test_a_lot_lasts_to_before_its_very_last_instant(account: SqlAccount) -> None:
    account.grant("promotion", 50, day(1), kind="promotion", expires=day(5))
    account.settle(day(5) - TICK)
    assert account.credits == 150
    account.settle(day(5))
    assert (account.credits, account.entries[-1]) == (100, ("expiry", -50, day(5)))


def test_what_was_charged_before_an_expiry_was_drawn_from_what_expired(account: SqlAccount) -> None:
    """Taken out: the allocation at the head of a boundary; the promotion then expired in full."""
    account.grant("promotion", 50, day(1), kind="promotion", priority=5, expires=day(5))
    account.charge("use", 30, day(2))
    account.settle(day(6))
    assert (account.credits, account.entries[-1]) == (100, ("expiry", -20, day(5)))


def test_a_lot_expires_once_and_before_what_comes_at_the_same_instant(account: SqlAccount) -> None:
    account.grant("promotion", 50, day(1), kind="promotion", expires=RESET)
    account.settle(RESET + TICK)
    assert account.entries[2:] == [("expiry", -100, RESET), ("expiry", -50, RESET), ("allowance", 100, RESET)]
    assert account.credits == 100


def test_a_scheduled_grant_counts_from_its_very_instant(account: SqlAccount) -> None:
    answer = account.grant("later", 50, day(1), starts=day(5))
    assert (answer["outcome"], answer["starts_at"], answer["balance"]) == ("scheduled", day(5), 100)
    assert account.balance["next_boundary_at"] == day(5)
    assert account.charge("too early", 120, day(5) - TICK, enforced=True)["outcome"] == "insufficient_credits"
    assert account.charge("in time", 120, day(5), enforced=True)["outcome"] == "recorded"
    assert account.entries[-1] == ("purchase", 50, day(5))


def test_a_grant_that_starts_now_is_there_now(account: SqlAccount) -> None:
    assert account.grant("now", 50, day(1), starts=day(1))["outcome"] == "granted"
    assert account.grant("before", 50, day(1), starts=day(0))["outcome"] == "granted"
    assert account.credits == 200


@pytest.mark.parametrize(("starts", "expires"), [(None, day(2)), (None, day(1)), (day(5), day(5))])
def test_a_grant_that_expires_before_it_can_be_used_is_refused(
    account: SqlAccount, starts: object, expires: object
) -> None:
    answer = account.grant("key", 5, day(2), starts=starts, expires=expires)  # type: ignore[arg-type]  # of day()
    assert answer["outcome"] == "expires_too_early"
    assert (account.credits, account.lots) == (100, [("allowance", 100)])
    assert account.adjust("other", 5, day(2), expires=day(2))["outcome"] == "expires_too_early"


def test_up_to_the_cap_an_unused_allowance_rolls_over_for_one_period(account: SqlAccount) -> None:
    account.set_terms(day(1), rollover=40)
    account.charge("use", 30, day(2))
    account.settle(RESET)
    assert account.entries[1:] == [("expiry", -70, RESET), ("rollover", 40, RESET), ("allowance", 100, RESET)]
    following = account.balance["next_reset_at"]
    account.settle(following)
    assert [entry[:2] for entry in account.entries[4:]] == [
        ("expiry", -40), ("expiry", -100), ("rollover", 40), ("allowance", 100),
    ]  # fmt: skip


def test_only_what_is_unused_rolls_over(account: SqlAccount) -> None:
    account.set_terms(day(1), rollover=40)
    account.grant("bought", 50, day(1), expires=RESET)
    account.charge("use", 90, day(2))
    account.settle(RESET)
    assert ("rollover", 10, RESET) in account.entries


def test_what_exceeds_the_lots_is_debt_and_is_paid_by_what_comes_next(account: SqlAccount) -> None:
    account.charge("use", 130, day(2))
    account.grant("bought", 50, day(3))
    assert (account.credits, account.lots) == (20, [("purchase", 20)])
    assert account.draws == [("allowance", 0, 100), ("purchase", 100, 30)]


def test_debts_are_paid_oldest_first_and_in_part(empty: SqlAccount) -> None:
    empty.charge("first", 10, day(1))
    empty.grant("a", 4, day(2))
    assert empty.draws == [("purchase", 0, 4), (None, 4, 6)]
    empty.charge("second", 10, day(3))
    empty.grant("b", 8, day(4), kind="promotion")
    assert empty.draws == [("purchase", 0, 4), ("promotion", 4, 6), ("promotion", 10, 2), (None, 12, 8)]
    assert (empty.credits, empty.lots) == (-8, [])


def test_a_new_allowance_pays_the_debt_of_the_old_period(account: SqlAccount) -> None:
    account.charge("use", 130, day(2))
    account.settle(RESET)
    assert (account.credits, account.lots) == (70, [("allowance", 70)])
    account.settle(account.balance["next_reset_at"])
    assert account.entries[-2][:2] == ("expiry", -70)


def test_a_negative_adjustment_draws_on_the_lots_in_order(account: SqlAccount) -> None:
    account.grant("bought", 50, day(1))
    answer = account.adjust("less", -120, day(2))
    assert (answer["outcome"], answer["balance"]) == ("adjusted", 30)
    assert account.lots == [("purchase", 30)]
    account.adjust("more less", -40, day(3))
    assert account.draws[-1] == (None, 150, 10)
    assert account.balance["total_consumed"] == 0


def test_a_positive_adjustment_is_a_lot_and_pays_debts(account: SqlAccount) -> None:
    account.charge("use", 110, day(1))
    account.adjust("more", 30, day(2), expires=day(3))
    assert account.lots == [("adjustment", 20)]
    account.settle(day(3))
    assert account.entries[-1] == ("expiry", -20, day(3))


def test_a_charge_that_was_settled_elsewhere_moves_no_balance_and_no_lot(account: SqlAccount) -> None:
    account.charge("before", 5, day(1))
    (answer,) = account.charge_all([account.use("old", 30)], day(2), settled=True)
    assert answer["outcome"] == "recorded"
    assert account.entries[-1][:2] == ("adjustment", 30)
    assert (account.credits, account.lots) == (95, [("allowance", 95)])
    account.charge("after", 10, day(3))
    account.settle(RESET)
    assert account.entries[-2] == ("expiry", -85, RESET)
    assert account.draws[:3] == [("allowance", 0, 5), ("adjustment", 5, 30), ("allowance", 35, 10)]


def test_a_raised_allowance_is_granted_once_and_only_what_is_more(account: SqlAccount) -> None:
    answer = account.set_terms(day(1), "raise", allowance=150, grant_now=True)
    assert (answer["amount"], answer["expires_at"], answer["balance"]) == (50, RESET, 150)
    assert account.set_terms(day(2), "again", allowance=150, grant_now=True)["amount"] is None
    assert account.set_terms(day(3), "lower", allowance=50, grant_now=True)["balance"] == 150
    account.settle(RESET)
    assert account.credits == 50


def test_terms_that_are_not_named_stay_as_they_are(account: SqlAccount) -> None:
    account.set_terms(day(1), allowance=70, overdraft=5, rollover=9)
    account.set_terms(day(2), overdraft=6)
    found = account.balance
    assert (found["monthly_allowance"], found["overdraft_limit"], found["rollover_cap"]) == (70, 6, 9)


def test_boundaries_missed_for_months_are_carried_out_each_at_its_own_instant(account: SqlAccount) -> None:
    account.grant("promotion", 50, day(1), kind="promotion", priority=5, expires=day(40))
    account.charge("use", 10, day(2))
    account.settle(day(65))
    instants = [(kind, amount, at) for kind, amount, at in account.entries if at > RESET - TICK]
    following = account.rows("SELECT next_period_boundary(%s, 'UTC', %s) AS at", BIRTH, RESET)[0]["at"]
    assert instants == [
        ("expiry", -100, RESET), ("allowance", 100, RESET), ("expiry", -40, day(40)),
        ("expiry", -100, following), ("allowance", 100, following),
    ]  # fmt: skip


def test_what_was_charged_before_a_grant_is_not_drawn_from_it(account: SqlAccount) -> None:
    """Taken out: the allocation at the head of a grant; the older use then ate the newer promotion."""
    account.charge("before", 30, day(1))
    account.grant("promotion", 50, day(2), kind="promotion", priority=0)
    assert account.lots == [("allowance", 70), ("promotion", 50)]
    account.charge("after", 20, day(3))
    account.adjust("adjustment", 5, day(4))
    assert account.lots == [("allowance", 70), ("promotion", 30), ("adjustment", 5)]


def test_history_of_nothing_needs_no_settling(account: SqlAccount) -> None:
    (answer,) = account.charge_all([account.use("old", 0)], day(1), settled=True)
    assert (answer["outcome"], account.entries[1:]) == ("recorded", [])


def test_the_latest_use_is_not_the_one_that_was_booked_last(account: SqlAccount) -> None:
    account.charge("new", 1, day(3), occurred=str(day(3)))
    account.charge("old", 1, day(4), occurred=str(day(2)))
    assert account.balance["last_event_at"] == day(3)


def test_what_is_due_is_swept_at_its_very_instant(account: SqlAccount) -> None:
    assert account.row("SELECT sweep_due_at(%s, 10) AS swept", RESET - TICK)["swept"] == 0
    assert account.row("SELECT sweep_due_at(%s, 10) AS swept", RESET)["swept"] == 1
    assert account.balance["period_start"] == RESET


def test_a_lot_that_is_to_come_is_not_drawn_before(account: SqlAccount) -> None:
    account.grant("later", 50, day(1), priority=0, starts=day(9))
    account.charge("use", 120, day(2))
    account.adjust("boundary", 5, day(3))
    assert account.draws == [("allowance", 0, 100), ("adjustment", 100, 5), (None, 105, 15)]
    account.settle(day(9))
    assert (account.lots, account.credits) == ([("purchase", 35)], 35)
