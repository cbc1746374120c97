"""What hypothesis draws the courses of events from, in which a ledger is compared with its model."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe")
USERS_MAX = 3
NOBODY = 1000

amounts = st.sampled_from([Decimal(text) for text in ("3", "10", "0.7", "60", "10.5", "0.00000000001", "0")])
small = st.sampled_from([Decimal(text) for text in ("3", "0.7", "10", "2.5", "60", "0")])
some = st.sampled_from([Decimal(text) for text in ("10", "60", "3", "25", "0.7", "0.00000000001")])
allowances = st.sampled_from([Decimal(text) for text in ("30.25", "100", "10", "0")])
people = st.sampled_from([0, 0, 0, 0, 1, 1, 2])
# Mostly a key that nobody used; else one of a few, whatever they were used for.
keys = st.sampled_from([None, None, None, None, None, None, None, "a", "b", "c"])
# Which event or hold of those that there are: most often the last one, now and then none.
places = st.sampled_from([-1, -1, -1, -2, -2, 0, 0, 1, 2, 3, NOBODY])
# Kinds of charges: by unit, at a cost that the caller states, and of a model that nobody knows.
kinds = st.sampled_from(["unit"] * 6 + ["caller"] * 2 + ["unknown"])
requests = st.tuples(
    st.sampled_from([0, 0, 0, 0, 1, 1, 2, NOBODY]),
    keys,
    amounts,
    kinds,
    st.sampled_from([False, False, True]),
    st.sampled_from([None] * 8 + [-1, -1, 0, NOBODY]),
)
# Instants: so many days from now, or so many microseconds from one at which somebody's balance changes by itself.
instants = (
    st.tuples(st.sampled_from([-1, 1e-6, 0.01, 1, 3, 10, 31, 75]), st.none())
    | st.tuples(st.integers(-1, 1), st.integers(0, 3))
)  # fmt: skip
lives = st.sampled_from([timedelta(seconds=seconds) for seconds in (86_400, 900, 500_000, 1)])
longer = st.sampled_from([timedelta(seconds=seconds) for seconds in (900, 86_400, 700_000, 1)])  # 8 days are too long


def steps() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """Draw a verb and its arguments. One rule for all of them: most courses of events need most verbs."""
    nothing: dict[str, Any] = {}
    verbs: dict[str, tuple[int, dict[str, Any]]] = {
        "charge": (8, {"batch": st.lists(requests, min_size=1, max_size=4)}),
        "charge_settled": (1, {"batch": st.lists(st.tuples(people, keys, amounts), min_size=1, max_size=3)}),
        "repeat": (
            4,
            {
                "choice": places,
                "other": st.none() | some,
                "key_of": st.sampled_from([None, None, -1, 0, 1]),
            },
        ),
        "grant": (
            6,
            {
                "who": people,
                "key": keys,
                "kind": st.sampled_from(["purchase", "promotion"]),
                "amount": some,
                "priority": st.sampled_from([None, None, 0, 10, 100]),
                "cost_basis": st.sampled_from([None, Decimal(0), Decimal("0.05")]),
                "starts": st.none() | st.none() | instants,
                "expires": st.none() | instants,
            },
        ),
        "adjust": (3, {"who": people, "key": keys, "amount": some, "sign": st.sampled_from([1, -1]), "expires":
                       st.none() | st.none() | instants}),
        "refund": (5, {"who": people, "key": keys, "place": places, "amount": st.none() | some}),
        "void": (4, {"who": people, "key": keys, "place": places}),
        "place_hold": (4, {"who": people, "key": keys, "amount": small, "ttl": lives}),
        "renew_hold": (3, {"who": people, "place": places, "ttl": longer}),
        "release_hold": (2, {"who": people, "place": places}),
        "capture": (4, {"who": people, "key": keys, "place": places, "amount": small, "enforce": st.booleans()}),
        "set_terms": (
            3,
            {
                "who": people,
                "key": keys,
                "allowance": st.none() | allowances,
                "now": st.booleans(),
                "overdraft": st.none() | allowances,
                "rollover_cap": st.none() | allowances,
            },
        ),
        "pass_time": (4, {"days": st.sampled_from([1e-9, 1e-4, 0.01, 0.5, 1, 6, 31, 75])}),
        "pass_time_to_a_boundary": (8, {"who": people, "which": st.sampled_from([0, 0, 0, 1, 2]),
                                        "ticks": st.sampled_from([-1, 0, 0, 1])}),
        "set_clock_back": (1, {"minutes": st.floats(0, 30)}),
        "sweep": (1, nothing),
        "settle": (1, {"who": people}),
        "add_user": (
            2,
            {
                "months_ago": st.integers(0, 26),
                "day": st.integers(28, 31),
                "time": st.times(),
                "zone": st.sampled_from(ZONES),
                "allowance": allowances,
                "demo_mode": st.sampled_from([False, False, True]),
            },
        ),
        "move_to": (1, {"who": people, "zone": st.sampled_from(ZONES)}),
        "enter_demo_mode": (1, {"who": people}),
        "leave_demo_mode": (1, {"who": people}),
        "anonymise": (1, {"who": st.sampled_from([1, 2])}),
    }  # fmt: skip
    drawn = {name: st.tuples(st.just(name), st.fixed_dictionaries(arguments)) for name, (_, arguments) in verbs.items()}
    return st.sampled_from([name for name, (weight, _) in verbs.items() for _ in range(weight)]).flatmap(
        drawn.__getitem__
    )
