"""The replay at other prices, where a window begins within a period; whole histories are tried on a ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from groat_server.core.simulation import Move, Replay, Tally, Verdict

MOVE = Move(
    user_id=1,
    email="a@example.com",
    monthly_allowance=Decimal(100),
    rollover_cap=Decimal(0),
    version=1,
    balance_after=Decimal(0),
    action_type=None,
    created_at=datetime(2026, 6, 1, tzinfo=UTC),
    model=None,
    provider=None,
    input_tokens=0,
    output_tokens=0,
    cache_read_tokens=0,
    cache_write_tokens=0,
    reasoning_tokens=0,
    quantity=None,
    given_cost=None,
    credits_charged=Decimal(0),
    available_after=Decimal(0),
    is_settled=False,
    is_reset=False,
    granted=Decimal(0),
    rolled_over=Decimal(0),
    expired=Decimal(0),
)


def charged(amount: str, balance_after: str) -> Move:
    """Make a charge."""
    after = Decimal(balance_after)
    return replace(MOVE, credits_charged=Decimal(amount), balance_after=after, available_after=after)


def reset(expired: str, balance_after: str) -> Move:
    """Make a reset that grants 100 credits."""
    after = Decimal(balance_after)
    return replace(MOVE, is_reset=True, granted=Decimal(100), expired=Decimal(expired), balance_after=after)


@pytest.mark.parametrize(
    ("charge", "simulated", "at_reset", "difference"),
    [
        (charged("50", "-20"), "25", reset("0", "80"), "20"),  # 30 were left: 5 of them would have expired
        (charged("50", "10"), "25", reset("10", "100"), "0"),  # what was saved would have expired
        (charged("50", "10"), "55", reset("10", "100"), "0"),  # what was left would have been less
        (charged("50", "10"), "75", reset("10", "100"), "-15"),  # and would have left a debt
        (charged("50", "250"), "25", reset("0", "350"), "0"),  # all that was spent may have been of the allowance
    ],
)
def test_a_window_may_begin_within_a_period(charge: Move, simulated: str, at_reset: Move, difference: str) -> None:
    """Taken out: the balance that the first charge met, as the bound of what was left of the allowance."""
    replay = Replay(Decimal(100), Decimal(0))
    replay.charge(charge, Decimal(simulated))
    replay.pass_allowance(at_reset)
    assert replay.drift == Decimal(difference)


def test_an_allowance_raised_before_the_first_charge_is_in_the_balance_already() -> None:
    replay = Replay(Decimal(100), Decimal(0))
    replay.pass_allowance(replace(MOVE, granted=Decimal(50), balance_after=Decimal(60)))
    replay.charge(charged("70", "-10"), Decimal(40))
    replay.pass_allowance(reset("0", "90"))
    assert replay.drift == 10


@pytest.mark.parametrize(
    ("amount", "simulated", "available_after", "verdict"),
    [
        ("5", "6", "0", Verdict(exceeded=False, would_exceed=True)),
        ("5", "5", "0", Verdict(exceeded=False, would_exceed=False)),
        ("5", "4", "-1", Verdict(exceeded=True, would_exceed=False)),
        ("5", "0", "-9", Verdict(exceeded=True, would_exceed=False)),
        ("0", "0", "-9", Verdict(exceeded=False, would_exceed=False)),
        ("0", "0.000000000001", "0", Verdict(exceeded=False, would_exceed=True)),
    ],
)
def test_a_charge_exceeds_what_is_available_by_the_least_amount(
    amount: str, simulated: str, available_after: str, verdict: Verdict
) -> None:
    """A charge of nothing never does."""
    assert Replay(Decimal(100), Decimal(0)).charge(charged(amount, available_after), Decimal(simulated)) == verdict


def test_sums_are_exact_beyond_the_digits_of_ordinary_decimals() -> None:
    tally = Tally()
    for amount in ("1000000000000", "0.000000000001"):
        for _ in range(10_000):
            tally.count(Decimal(amount), Decimal(amount) * 2, None)
    assert tally.credits_charged == Decimal("10000000000000000.00000001")
    assert str(tally.difference) == "10000000000000000.00000001"
