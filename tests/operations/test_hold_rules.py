"""Holds: when they count, how long they last, and what a capture does with them, by the SQL functions alone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.operations.account import TICK, SqlAccount, day
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address

SECOND = timedelta(seconds=1)


@pytest.fixture
def account(ledger_address: Address) -> Iterator[SqlAccount]:
    """Lend an account of 100 credits a month."""
    with connect(ledger_address) as connection:
        yield SqlAccount.open(connection)


def test_a_hold_takes_from_what_is_available_and_not_from_the_balance(account: SqlAccount) -> None:
    answer = account.hold("hold", 60, day(1))
    assert (answer["outcome"], answer["state"], answer["amount"]) == ("held", "open", 60)
    assert (answer["balance"], answer["held"], answer["available"]) == (100, 60, 40)
    assert answer["expires_at"] == day(1) + 900 * SECOND
    assert account.charge("more", 41, day(1), enforced=True)["outcome"] == "insufficient_credits"
    taken = account.charge("fits", 40, day(1), enforced=True)
    assert (taken["outcome"], taken["balance"], taken["held"], taken["available"]) == ("recorded", 60, 60, 0)


def test_holds_together_never_exceed_what_is_available(account: SqlAccount) -> None:
    account.set_terms(day(1), overdraft=10)
    assert account.hold("a", 60, day(1))["outcome"] == "held"
    assert account.hold("b", 51, day(1))["outcome"] == "insufficient_credits"
    assert account.hold("c", 50, day(1))["outcome"] == "held"
    assert account.hold("nothing", 0, day(1))["outcome"] == "held"


def test_a_hold_stops_counting_at_its_very_instant(account: SqlAccount) -> None:
    account.hold("hold", 60, day(1))
    end = day(1) + 900 * SECOND
    assert account.charge("before", 41, end - TICK, enforced=True)["outcome"] == "insufficient_credits"
    assert account.hold("other", 41, end - TICK)["outcome"] == "insufficient_credits"
    assert account.charge("after", 41, end, enforced=True)["outcome"] == "recorded"
    assert account.hold("other", 59, end)["outcome"] == "held"


def test_a_capture_charges_what_was_used_and_frees_the_rest(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    answer = account.charge("use", 25, day(1), holds=hold, enforced=True)
    assert (answer["outcome"], answer["balance"], answer["held"], answer["available"]) == ("recorded", 75, 0, 75)
    assert (answer["hold_exceeded"], answer["late_capture"]) == (False, False)
    stored = account.row("SELECT * FROM credit_holds WHERE id = %s", hold)
    assert (stored["state"], stored["event_id"], stored["captured_at"]) == ("captured", answer["event_id"], day(1))
    event = account.row("SELECT hold_id FROM credit_usage_events WHERE id = %s", answer["event_id"])
    assert event["hold_id"] == hold


def test_the_held_credits_themselves_are_there_for_the_capture(account: SqlAccount) -> None:
    hold = account.hold("hold", 100, day(1))["hold_id"]
    assert account.charge("use", 100, day(1), holds=hold, enforced=True)["outcome"] == "recorded"


def test_a_hold_is_captured_once(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    first = account.charge("use", 25, day(1), holds=hold)
    assert account.charge("use", 25, day(2), holds=hold) | {"outcome": "recorded"} == first | {"instant": day(2)}
    assert account.charge("other", 25, day(2), holds=hold)["outcome"] == "hold_captured"
    assert account.release(hold, day(2))["outcome"] == "hold_captured"
    assert account.renew(hold, 60, day(2))["outcome"] == "hold_captured"
    assert account.credits == 75


def test_a_hold_is_captured_once_within_a_batch_too(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    answers = account.charge_all([account.use("a", 5, holds=hold), account.use("b", 5, holds=hold)], day(1))
    assert [answer["outcome"] for answer in answers] == ["recorded", "hold_captured"]


def test_within_a_batch_a_capture_frees_its_hold_for_what_follows(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    charges = [account.use("a", 5, holds=hold), account.use("b", 95, enforced=True), account.use("c", 1, enforced=True)]
    answers = account.charge_all(charges, day(1))
    assert [answer["outcome"] for answer in answers] == ["recorded", "recorded", "insufficient_credits"]


def test_a_capture_above_its_hold_is_recorded_and_says_so(account: SqlAccount) -> None:
    hold = account.hold("hold", 10, day(1))["hold_id"]
    answer = account.charge("use", 11, day(1), holds=hold)
    assert (answer["outcome"], answer["hold_exceeded"]) == ("recorded", True)
    exact = account.hold("exact", 10, day(1))["hold_id"]
    assert account.charge("exactly", 10, day(1), holds=exact)["hold_exceeded"] is False


def test_a_capture_after_the_end_is_recorded_and_says_so(account: SqlAccount) -> None:
    hold = account.hold("hold", 10, day(1))["hold_id"]
    assert account.charge("use", 5, day(1) + 900 * SECOND, holds=hold)["late_capture"] is True
    other = account.hold("other", 10, day(2))["hold_id"]
    assert account.charge("in time", 5, day(2) + 900 * SECOND - TICK, holds=other)["late_capture"] is False
    released = account.hold("released", 10, day(3))["hold_id"]
    account.release(released, day(3))
    answer = account.charge("late", 5, day(3), holds=released)
    assert (answer["outcome"], answer["late_capture"]) == ("recorded", True)


def test_an_expired_hold_lends_nothing_to_its_late_capture(account: SqlAccount) -> None:
    hold = account.hold("hold", 100, day(1))["hold_id"]
    account.charge("use", 60, day(2))
    assert account.charge("late", 41, day(2), holds=hold, enforced=True)["outcome"] == "insufficient_credits"


def test_nobody_elses_hold_can_be_captured_or_released(account: SqlAccount) -> None:
    other = SqlAccount.open(account.connection)
    hold = other.hold("hold", 10, day(1))["hold_id"]
    assert account.charge("use", 5, day(1), holds=hold)["outcome"] == "unknown_hold"
    assert account.release(hold, day(1))["outcome"] == "unknown_hold"
    assert account.renew(hold, 60, day(1))["outcome"] == "unknown_hold"


def test_a_release_frees_the_credits_and_may_be_repeated(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    for at in (day(1), day(1) + SECOND):
        answer = account.release(hold, at)
        assert (answer["outcome"], answer["state"], answer["held"], answer["available"]) == (
            "released", "released", 0, 100,
        )  # fmt: skip
    assert account.row("SELECT released_at FROM credit_holds WHERE id = %s", hold)["released_at"] == day(1)
    expired = account.hold("expired", 60, day(2))["hold_id"]
    answer = account.release(expired, day(3))
    assert (answer["outcome"], answer["state"]) == ("released", "expired")


def test_a_renewal_lengthens_and_never_shortens_up_to_seven_days_in_all(account: SqlAccount) -> None:
    hold = account.hold("hold", 10, day(1))["hold_id"]
    assert account.renew(hold, 60, day(1))["expires_at"] == day(1) + 900 * SECOND
    assert account.renew(hold, 86_400, day(1) + SECOND)["expires_at"] == day(2) + SECOND
    for half in range(3, 16):
        answer = account.renew(hold, 86_400, day(half / 2))
    assert (answer["outcome"], answer["expires_at"]) == ("renewed", day(8))
    assert account.charge("use", 91, day(8) - TICK, enforced=True)["outcome"] == "insufficient_credits"
    assert account.renew(hold, 60, day(8))["outcome"] == "hold_not_open"


def test_the_sweep_writes_down_what_has_expired(account: SqlAccount) -> None:
    holds = [account.hold(key, 1, day(1))["hold_id"] for key in ("a", "b", "c")]
    account.charge("use", 1, day(1), holds=holds[0])
    end = day(1) + 900 * SECOND
    assert account.row("SELECT sweep_holds_at(%s, 10) AS swept", end - TICK)["swept"] == 0
    assert account.row("SELECT sweep_holds_at(%s, 1) AS swept", end)["swept"] == 1
    assert account.row("SELECT sweep_holds_at(%s, 10) AS swept", end)["swept"] == 1
    found = account.rows("SELECT state FROM credit_holds WHERE user_id = %s ORDER BY id", account.user_id)
    assert [row["state"] for row in found] == ["captured", "expired", "expired"]


def test_a_long_hold_still_counts_after_a_short_one_has_ended(account: SqlAccount) -> None:
    account.hold("long", 60, day(1), seconds=7200)
    account.hold("short", 10, day(1), seconds=60)
    assert account.charge("use", 41, day(1) + 3600 * SECOND, enforced=True)["outcome"] == "insufficient_credits"


def test_the_hold_is_part_of_what_a_repeat_must_say_again(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    account.charge("use", 5, day(1), holds=hold)
    assert account.charge("use", 5, day(1))["outcome"] == "idempotency_conflict"


def test_a_hold_lends_nothing_to_a_capture_at_its_very_end(account: SqlAccount) -> None:
    hold = account.hold("hold", 60, day(1))["hold_id"]
    account.hold("other", 60, day(1) + 900 * SECOND)
    late = account.charge("late", 41, day(1) + 900 * SECOND, holds=hold, enforced=True)
    assert late["outcome"] == "insufficient_credits"


def test_of_two_holds_the_one_that_has_ended_counts_no_more(account: SqlAccount) -> None:
    account.hold("long", 50, day(1), seconds=7200)
    account.hold("short", 20, day(1), seconds=60)
    end = day(1) + 60 * SECOND
    assert account.charge("before", 31, end - TICK, enforced=True)["outcome"] == "insufficient_credits"
    assert account.charge("after", 50, end, enforced=True)["outcome"] == "recorded"


def test_what_was_released_or_captured_counts_no_more_for_the_charges_after_it(account: SqlAccount) -> None:
    account.hold("long", 10, day(1), seconds=7200)
    released, captured = (account.hold(key, 40, day(1))["hold_id"] for key in ("a", "b"))
    account.release(released, day(1))
    account.charge("use", 1, day(1), holds=captured)
    answer = account.charge("rest", 89, day(1), enforced=True)
    assert (answer["outcome"], answer["held"], answer["available"]) == ("recorded", 10, 0)
