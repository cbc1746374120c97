"""A history beside the same one at other prices: small cases, reckoned by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from groat_server.core.simulation import Move, Replay, Tally, Verdict

ZERO = Decimal(0)


def move(**changes: Any) -> Move:
    """Make a move of a user whose allowance is 100."""
    values: dict[str, Any] = {
        "user_id": 1, "email": "a@example.com", "monthly_allowance": Decimal(100), "rollover_cap": ZERO, "version": 1,
        "balance_after": ZERO, "action_type": None, "created_at": datetime(2026, 1, 1, tzinfo=UTC), "model": None,
        "provider": None, "input_tokens": 0, "output_tokens": 0, "cache_read_tokens": 0, "cache_write_tokens": 0,
        "reasoning_tokens": 0, "quantity": None, "given_cost": None, "credits_charged": ZERO, "available_after": ZERO,
        "is_settled": False, "is_reset": False, "granted": ZERO, "rolled_over": ZERO, "expired": ZERO,
    }  # fmt: skip
    amounts = {name: Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
               for name, value in changes.items()}  # fmt: skip
    return Move(**values | amounts)


def spent(credits_: int, balance_after: int, *, overdraft: int = 0) -> Move:
    """Make a charge that left so many credits."""
    return move(
        action_type="chat", credits_charged=credits_, balance_after=balance_after,
        available_after=balance_after + overdraft,
    )  # fmt: skip


def reset(balance_after: int, *, expired: int, rolled_over: int = 0) -> Move:
    """Make a reset that granted 100 and left so many credits."""
    return move(is_reset=True, granted=100, balance_after=balance_after, expired=expired, rolled_over=rolled_over)


def replay(cap: int = 0) -> Replay:
    return Replay(Decimal(100), Decimal(cap))


@pytest.mark.parametrize(
    ("charged", "left", "simulated", "exceeded", "would_exceed"),
    [
        (10, 0, "10", False, False),
        (10, -1, "10", True, True),
        (1, -1, "1", True, True),
        (10, -1, "9", True, False),
        (10, 0, "10.000000000001", False, True),
        (10, 0, None, False, False),
        (10, -1, None, True, True),
        (0, -5, "0", False, False),
        (10, -15, "0", True, False),
        (0, -5, "1", False, True),
    ],
)
def test_a_charge_exceeds_what_is_more_than_was_available_before_it(
    charged: int, left: int, simulated: str | None, *, exceeded: bool, would_exceed: bool
) -> None:
    price = None if simulated is None else Decimal(simulated)
    assert replay().charge(spent(charged, left), price) == Verdict(exceeded, would_exceed)


def test_what_was_available_of_an_overdraft_counts() -> None:
    assert replay().charge(spent(10, -10, overdraft=10), Decimal(11)) == Verdict(exceeded=False, would_exceed=True)


def test_the_next_charge_meets_what_the_one_before_has_left() -> None:
    history = replay()
    history.charge(spent(10, 20), Decimal(15))
    assert history.drift == -5
    assert history.charge(spent(10, 10), Decimal(15)) == Verdict(exceeded=False, would_exceed=False)
    assert history.charge(spent(10, 0), Decimal(1)) == Verdict(exceeded=False, would_exceed=True)
    history.charge(spent(10, -10), None)
    assert history.drift == -1


def test_settled_history_moves_nothing() -> None:
    history = replay()
    assert history.charge(move(action_type="chat", credits_charged=50, is_settled=True), Decimal(90)) is None
    assert history.drift == 0


def test_at_a_reset_what_was_spent_of_the_allowance_makes_no_difference_any_more() -> None:
    history = replay()
    history.charge(spent(10, 90), Decimal(30))
    history.pass_allowance(reset(100, expired=90))
    assert history.drift == 0


def test_what_was_spent_beyond_the_allowance_stays_spent() -> None:
    history = replay()
    history.charge(spent(10, 140), Decimal(130))
    history.pass_allowance(reset(150, expired=90))
    assert history.drift == -30


def test_debt_of_the_past_that_cheaper_prices_do_not_make() -> None:
    history = replay()
    history.charge(spent(130, -30), Decimal(80))
    history.pass_allowance(reset(70, expired=0))
    assert history.drift == 30
    history.charge(spent(70, 0), Decimal(70))
    history.pass_allowance(reset(100, expired=0))
    assert history.drift == 0


def test_what_rolls_over_is_less_where_less_is_left() -> None:
    history = replay(cap=40)
    history.charge(spent(10, 90), Decimal(80))
    history.pass_allowance(reset(140, expired=90, rolled_over=40))
    assert history.drift == -20
    history.pass_allowance(reset(140, expired=140, rolled_over=40))
    assert history.drift == 0


def test_what_rolled_over_under_another_cap_did_so_in_both_histories() -> None:
    history = replay(cap=40)
    history.charge(spent(10, 90), None)
    history.pass_allowance(reset(155, expired=90, rolled_over=55))
    assert history.drift == 0
    history.charge(spent(20, 135), Decimal(30))
    history.pass_allowance(reset(140, expired=135, rolled_over=40))
    assert history.drift == 0


def test_an_allowance_raised_within_the_period_is_part_of_it() -> None:
    history = replay()
    history.charge(spent(100, 0), Decimal(120))
    history.pass_allowance(move(granted=50, balance_after=50))
    history.charge(spent(50, 0), Decimal(20))
    history.pass_allowance(reset(100, expired=0))
    assert history.drift == 0


def test_what_was_raised_before_the_history_begins_is_in_its_first_balance() -> None:
    history = replay()
    history.pass_allowance(move(granted=50, balance_after=150))
    history.charge(spent(10, 140), Decimal(110))
    history.pass_allowance(reset(190, expired=90))
    assert history.drift == -10


def test_of_the_first_period_no_more_is_left_than_there_are_credits() -> None:
    history = replay()
    history.charge(spent(20, 10), Decimal(40))
    history.charge(spent(10, 0), Decimal(10))
    history.pass_allowance(reset(100, expired=0))
    assert history.drift == -20
    assert history.charge(spent(80, 20), Decimal(81)) == Verdict(exceeded=False, would_exceed=True)


def test_a_history_that_begins_in_debt_has_nothing_left() -> None:
    history = replay()
    history.charge(spent(10, -30), Decimal(5))
    history.pass_allowance(reset(70, expired=0))
    assert history.drift == 5


def test_a_tally_adds_up() -> None:
    tally = Tally()
    for charged, simulated, verdict in (
        (10, 15, Verdict(exceeded=False, would_exceed=True)),
        (10, 5, Verdict(exceeded=True, would_exceed=False)),
        (10, 5, Verdict(exceeded=True, would_exceed=False)),
        (10, 10, Verdict(exceeded=True, would_exceed=True)),
        (10, None, Verdict(exceeded=False, would_exceed=False)),
        (10, 20, None),
        (10, 21, Verdict(exceeded=False, would_exceed=True)),
    ):
        tally.count(Decimal(charged), None if simulated is None else Decimal(simulated), verdict)
    assert tally == Tally(
        events=7, credits_charged=Decimal(70), credits_simulated=Decimal(86), exceeding=3, exceeding_simulated=3,
        newly_refused=2, newly_accepted=2, unpriceable=1,
    )  # fmt: skip
    assert str(tally.difference) == "16"
