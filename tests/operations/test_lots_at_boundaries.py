"""Lots and balance agree at every boundary, whatever led there: few instants, microseconds apart, and much at each.

The ledger allocates what was consumed where lots change, and not before; the model as it is charged. Two accounts have
the same history: of one all is allocated after every step, of the other when the ledger thinks it must be. Both must
come to what the model has, lot by lot and credit by credit.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.auditor import faults
from tests.model import ModelUsage
from tests.operations.ledgers import connect, rows
from tests.operations.twins import Asked, Twins, forget

if TYPE_CHECKING:
    from groat_server.database import Address

JOINED = datetime(2031, 1, 31, 12, tzinfo=UTC)
RESETS = [datetime(2031, month, day, 12, tzinfo=UTC) for month, day in ((2, 28), (3, 31), (4, 30))]
TICK = timedelta(microseconds=1)
# Around each reset, a day into each period, and when the credits of a refund at a reset come to their end.
INSTANTS = sorted(
    {JOINED, JOINED + TICK, JOINED + timedelta(days=1), JOINED + timedelta(days=1) + TICK}
    | {reset + ticks * TICK for reset in RESETS for ticks in (-1, 0, 1)}
    | {reset + timedelta(days=1) for reset in RESETS}
    | {reset + timedelta(days=30) + ticks * TICK for reset in RESETS for ticks in (-1, 0, 1)}
)

credits_ = st.sampled_from([Decimal(text) for text in ("3", "10", "25", "0.00000000001", "7.5")])
instants = st.sampled_from(INSTANTS)
events = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("charge"), st.lists(credits_, min_size=1, max_size=3)),
    st.tuples(st.just("charge"), st.lists(credits_, min_size=1, max_size=3)),
    st.tuples(
        st.just("grant"),
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["purchase", "promotion"]),
                "amount": credits_,
                "priority": st.sampled_from([None, 10]),
                "cost_basis": st.sampled_from([None, Decimal(1)]),
                "starts_at": st.none() | instants,
                "expires_at": st.none() | instants | instants,
            }
        ),
    ),
    st.tuples(
        st.just("adjust"),
        st.fixed_dictionaries(
            {"amount": credits_ | credits_.map(lambda amount: -amount), "expires_at": st.none() | instants}
        ),
    ),
    st.tuples(st.just("refund"), st.fixed_dictionaries({"event_key": events, "amount": st.none() | credits_})),
    st.tuples(st.just("void"), st.fixed_dictionaries({"event_key": events})),
)
histories = st.lists(st.tuples(st.sampled_from([0, 0, 1, 1, 2, 3, 5]), steps), min_size=3, max_size=25)
terms = st.fixed_dictionaries(
    {
        "rollover_cap": st.sampled_from([None, Decimal(4), Decimal(100)]),
        "allowance": st.sampled_from([None, Decimal(5)]),
    }
)


@pytest.mark.timeout(600)
def test_lots_are_the_balance_at_every_boundary(ledger_address: Address) -> None:
    with connect(ledger_address) as connection:

        @settings(suppress_health_check=list(HealthCheck))
        @given(histories, terms)
        def lots_are_the_balance(history: list[tuple[int, tuple[str, Any]]], agreed: dict[str, Any]) -> None:
            forget(connection)
            twins = Twins(connection)
            eager, lazy = (twins.add_user(JOINED, "UTC", Decimal(20)) for _ in range(2))
            details = {"now": False, "overdraft": None, **agreed}
            for user_id in (eager, lazy):
                twins.do(Asked(verb="set_terms", user_id=user_id, key="terms", details=details), JOINED)
            place = 0
            for number, (ahead, (verb, asked)) in enumerate(history):
                place = min(place + ahead, len(INSTANTS) - 1)
                for user_id in (eager, lazy):
                    _take(twins, user_id, verb, asked, key=f"{number}", at=INSTANTS[place])
                rows(connection, "SELECT allocate_consumption(%s)", [eager])
                twins.compare_books(INSTANTS[place])
            for instant in INSTANTS[place:]:
                twins.sweep(instant)
                twins.compare_books(instant)
            twins.compare_draws(INSTANTS[-1])
            assert list(faults(connection)) == []

        lots_are_the_balance()


def _take(twins: Twins, user_id: int, verb: str, asked: Any, *, key: str, at: datetime) -> None:
    if verb == "charge":
        usages = [
            ModelUsage(user_id=user_id, key=f"{key}.{place}", credits=amount, content=("unit", amount))
            for place, amount in enumerate(asked)
        ]
        twins.charge(usages, at)
        return
    if "event_key" in asked:
        keys = list(twins.model.account(user_id).events)
        asked = asked | {"event_key": keys[-1 - asked["event_key"] % len(keys)] if keys else "nobody's"}
    twins.do(Asked(verb=verb, user_id=user_id, key=key, details=asked), at)
