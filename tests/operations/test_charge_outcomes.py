"""What becomes of a charge: each outcome, which comes first, and what an answer says. Rules as tables."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from groat_server.core.outcomes import Outcome
from groat_server.core.usage import Usage
from groat_server.operations.prices import set_price, set_pricing
from groat_server.operations.usage import charge
from groat_server.sql import source
from tests.operations.ledgers import ask, connect, new_user, outcomes, rows, use
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.usage import Receipt

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
LONG_AGO = NOW - timedelta(days=60)
NOBODY = 10**9

UNKNOWN_MODEL = {"action_type": "chat", "model": "no-such-model"}
FUTURE = {"occurred_at": NOW + timedelta(minutes=5) + TICK}
TOO_OLD = {"occurred_at": NOW - timedelta(days=35) - TICK}
TOO_DEAR = {"quantity": Decimal("100.000000000001"), "enforce": True}
INCONSISTENT = {"action_type": "chat", "model": "lamp", "input_tokens": 1, "cache_read_tokens": 2}
OUT_OF_BOUNDS = {"action_type": "chat", "api_cost": Decimal("1000000.01")}
UNREGISTERED = {"action_type": "unheard-of"}
FAULTS: Sequence[Mapping[str, Any]] = [
    UNKNOWN_MODEL,
    FUTURE,
    TOO_OLD,
    TOO_DEAR,
    INCONSISTENT,
    OUT_OF_BOUNDS,
    UNREGISTERED,
]

# Which faults a charge of 1 credit has, and the answer: the first outcome, in the enum's order, that applies.
PRECEDENCE: Sequence[tuple[Outcome, Mapping[str, Any]]] = [
    (Outcome.RECORDED, {}),
    (Outcome.UNKNOWN_USER, {"user_id": NOBODY}),
    (Outcome.UNKNOWN_USER, {"user_id": None}),
    (Outcome.UNKNOWN_USER, {"user_id": NOBODY, **UNKNOWN_MODEL}),
    (Outcome.UNKNOWN_USER, {"user_id": None, **UNREGISTERED, **FUTURE}),
    (Outcome.UNKNOWN_ACTION_TYPE, UNREGISTERED),
    (Outcome.UNKNOWN_ACTION_TYPE, UNKNOWN_MODEL | UNREGISTERED),
    (Outcome.UNKNOWN_ACTION_TYPE, OUT_OF_BOUNDS | UNREGISTERED),
    (Outcome.UNKNOWN_ACTION_TYPE, UNREGISTERED | FUTURE),
    (Outcome.UNKNOWN_ACTION_TYPE, UNREGISTERED | TOO_DEAR),
    (Outcome.UNKNOWN_MODEL, UNKNOWN_MODEL),
    (Outcome.UNKNOWN_MODEL, UNKNOWN_MODEL | FUTURE),
    (Outcome.UNKNOWN_MODEL, UNKNOWN_MODEL | TOO_OLD | {"enforce": True}),
    (Outcome.UNPRICED_ACTION, {"action_type": "chat"}),
    (Outcome.UNPRICED_ACTION, {"action_type": "chat", **FUTURE}),
    (Outcome.INCONSISTENT_TOKENS, INCONSISTENT),
    (Outcome.INCONSISTENT_TOKENS, INCONSISTENT | TOO_OLD),
    (Outcome.INCONSISTENT_TOKENS, INCONSISTENT | {"cache_read_tokens": 0, "reasoning_tokens": 1}),
    (Outcome.COST_OUT_OF_BOUNDS, OUT_OF_BOUNDS),
    (Outcome.COST_OUT_OF_BOUNDS, OUT_OF_BOUNDS | FUTURE),
    (Outcome.COST_OUT_OF_BOUNDS, OUT_OF_BOUNDS | {"enforce": True}),
    (Outcome.OCCURRED_IN_FUTURE, FUTURE),
    (Outcome.OCCURRED_IN_FUTURE, FUTURE | TOO_DEAR),
    (Outcome.OCCURRED_IN_FUTURE, FUTURE | {"backfill": True}),
    (Outcome.RECORDED, {"occurred_at": NOW + timedelta(minutes=5)}),
    (Outcome.OCCURRED_TOO_LONG_AGO, TOO_OLD),
    (Outcome.OCCURRED_TOO_LONG_AGO, TOO_OLD | TOO_DEAR),
    (Outcome.RECORDED, TOO_OLD | {"backfill": True}),
    (Outcome.RECORDED, {"occurred_at": NOW - timedelta(days=35)}),
    (Outcome.INSUFFICIENT_CREDITS, TOO_DEAR),
    (Outcome.RECORDED, TOO_DEAR | {"quantity": Decimal(100)}),
    (Outcome.RECORDED, TOO_DEAR | {"enforce": False}),
]


async def _make_strict(ledger: Ledger, *names: str) -> None:
    async with ledger.database.write() as connection:
        await connection.execute("UPDATE ledger_settings SET strict_action_types = true")
        for name in names:
            await connection.execute("INSERT INTO action_types (name) VALUES (%s)", [name])


def _answer(receipt: Receipt) -> tuple[object, ...]:
    """Return what an answer says, but for the outcome and the instant of the call."""
    assert receipt.booking is not None
    assert receipt.charge is not None
    charged = replace(receipt.charge, valid_from=None, valid_until=None)  # which no event stores
    return receipt.booking, charged, receipt.version and receipt.version.id


async def test_the_first_outcome_that_applies_is_the_answer(ledger: Ledger) -> None:
    """Without the `bad_time` branch of charge_batch, say, the lines with a time turn into others."""
    await _make_strict(ledger, "unit", "chat")
    got = []
    for number, (_, changes) in enumerate(PRECEDENCE):
        user_id = await new_user(ledger, created_at=LONG_AGO)
        (receipt,) = await charge(ledger, [replace(use(user_id, f"key {number}"), **changes)], at=NOW)
        got.append((receipt.outcome, changes))
    assert got == list(PRECEDENCE)


async def test_a_demo_user_is_untracked_whatever_else_is_wrong(ledger: Ledger) -> None:
    await _make_strict(ledger, "unit", "chat")
    demo = await new_user(ledger, demo_mode=True, created_at=LONG_AGO)
    usages = [replace(use(demo, "key"), **changes) for changes in [*FAULTS, {}]]
    receipts = await charge(ledger, usages, at=NOW)
    assert outcomes(receipts) == [Outcome.UNTRACKED] * len(usages)
    assert {receipt.row and receipt.row.balance for receipt in receipts} == {None}


async def test_an_untracked_charge_says_what_it_would_cost(ledger: Ledger) -> None:
    (receipt,) = await charge(ledger, [use(await new_user(ledger, demo_mode=True), "key", 7)])
    assert receipt.charge is not None
    assert receipt.charge.credits_charged == 7


async def test_a_used_key_conflicts_whatever_else_is_wrong(ledger: Ledger) -> None:
    await _make_strict(ledger, "unit", "chat")
    user_id = await new_user(ledger, created_at=LONG_AGO)
    await charge(ledger, [use(user_id, "key")], at=NOW)
    receipts = await charge(ledger, [replace(use(user_id, "key"), **changes) for changes in FAULTS], at=NOW)
    assert outcomes(receipts) == [Outcome.IDEMPOTENCY_CONFLICT] * len(FAULTS)


# --- a repeated key ---------------------------------------------------------------------------------------------------

FULL = Usage(
    user_id=None,
    idempotency_key="key",
    action_type="chat",
    model="lamp",
    provider="acme",
    input_tokens=10,
    output_tokens=10,
    cache_read_tokens=2,
    cache_write_tokens=3,
    reasoning_tokens=4,
    quantity=Decimal(2),
    occurred_at=NOW - timedelta(hours=1),
    description="first",
    session_id="s",
    metadata={"a": 1},
)
COSTED = replace(FULL, api_cost=Decimal("0.5"))
FLAT = replace(COSTED, action_type="unit")
BARE = Usage(user_id=None, idempotency_key="key", action_type="unit")

OTHER_CONTENT: Mapping[str, tuple[Usage, Usage]] = {
    "action": (FULL, replace(FULL, action_type="other")),
    "model": (FULL, replace(FULL, model="no-such-model")),
    "model left out": (FULL, replace(FULL, model=None)),
    "model added": (BARE, replace(BARE, model="lamp")),
    "provider": (FULL, replace(FULL, provider="other")),
    "provider left out": (FULL, replace(FULL, provider=None)),
    "provider added": (BARE, replace(BARE, provider="acme")),
    "input tokens": (FULL, replace(FULL, input_tokens=11)),
    "output tokens": (FULL, replace(FULL, output_tokens=11)),
    "cache reads": (FULL, replace(FULL, cache_read_tokens=3)),
    "cache writes": (FULL, replace(FULL, cache_write_tokens=2)),
    "reasoning tokens": (FULL, replace(FULL, reasoning_tokens=5)),
    "quantity": (FULL, replace(FULL, quantity=Decimal(3))),
    "quantity left out": (FULL, replace(FULL, quantity=None)),
    "quantity added": (BARE, replace(BARE, quantity=Decimal(1))),
    "cost": (COSTED, replace(COSTED, api_cost=Decimal("0.4"))),
    "cost left out": (COSTED, FULL),
    "cost added": (FULL, COSTED),
    "cost beside a flat price": (FLAT, replace(FLAT, api_cost=Decimal("0.4"))),
    "cost beside a flat price left out": (FLAT, replace(FLAT, api_cost=None)),
    "cost beside a flat price added": (BARE, replace(BARE, api_cost=Decimal(1))),
    "time": (FULL, replace(FULL, occurred_at=NOW)),
    "time left out": (FULL, replace(FULL, occurred_at=None)),
    "time added, the very one that was booked": (BARE, replace(BARE, occurred_at=NOW)),
}

SAME_CONTENT: Mapping[str, tuple[Usage, Usage]] = {
    "nothing": (FULL, FULL),
    "nothing, with a cost": (COSTED, COSTED),
    "nothing, at a flat price": (FLAT, FLAT),
    "nothing, with least content": (BARE, BARE),
    "mode": (FULL, replace(FULL, enforce=True)),
    "backfill": (FULL, replace(FULL, backfill=True)),
    "description": (FULL, replace(FULL, description="second")),
    "description left out": (FULL, replace(FULL, description=None)),
    "session": (FULL, replace(FULL, session_id=None)),
    "metadata": (FULL, replace(FULL, metadata={"b": 2})),
    "the quantity's zeros": (FULL, replace(FULL, quantity=Decimal("2.000"))),
    "the cost's zeros": (COSTED, replace(COSTED, api_cost=Decimal("0.50"))),
    "the time's zone": (FULL, replace(FULL, occurred_at=FULL.occurred_at and FULL.occurred_at.astimezone())),
}


@pytest.mark.parametrize("in_one_batch", [False, True], ids=["later", "in one batch"])
@pytest.mark.parametrize(
    ("pairs", "expected"),
    [(OTHER_CONTENT, Outcome.IDEMPOTENCY_CONFLICT), (SAME_CONTENT, Outcome.REPLAYED)],
    ids=["other content", "same content"],
)
async def test_a_repeated_key_is_compared_by_its_content(
    ledger: Ledger, pairs: Mapping[str, tuple[Usage, Usage]], expected: Outcome, *, in_one_batch: bool
) -> None:
    """Taken out, one at a time: each comparison of `same_content`, each element of the twins' row comparison."""
    got = {}
    for name, pair in pairs.items():
        user_id = await new_user(ledger, created_at=LONG_AGO)
        first, second = (replace(usage, user_id=user_id) for usage in pair)
        if in_one_batch:
            receipts = await charge(ledger, [first, second], at=NOW)
        else:
            receipts = await charge(ledger, [first], at=NOW) + await charge(ledger, [second], at=NOW)
        got[name] = outcomes(receipts)
        assert ask(
            ledger.database.address, "SELECT count(*) FROM credit_usage_events WHERE user_id = %s", [user_id]
        ) == [(1,)]
        if expected == Outcome.REPLAYED:
            assert _answer(receipts[0]) == _answer(receipts[1])
    assert got == {name: [Outcome.RECORDED, expected] for name in pairs}


async def test_a_key_belongs_to_its_user(ledger: Ledger) -> None:
    one, other = await new_user(ledger), await new_user(ledger)
    receipts = await charge(ledger, [use(one, "key", 1), use(other, "key", 2)])
    assert outcomes(receipts) == [Outcome.RECORDED, Outcome.RECORDED]


async def test_a_repeat_gets_the_first_answer_whatever_has_happened_since(ledger: Ledger) -> None:
    """Taken out: the event's columns in the last SELECT of charge_batch, for the balance's own."""
    user_id = await new_user(ledger)
    usage = use(user_id, "key", action_type="chat", quantity=None, model="lamp", input_tokens=10**6)
    (first,) = await charge(ledger, [usage])
    assert first.outcome == Outcome.RECORDED
    assert first.charge is not None
    assert first.charge.credits_charged == 10

    async def repeat() -> None:
        (again,) = await charge(ledger, [usage])
        assert again.outcome == Outcome.REPLAYED
        assert _answer(again) == _answer(first)

    await repeat()
    await charge(ledger, [use(user_id, "another", 5)])
    await repeat()
    async with ledger.database.write() as connection:
        await connection.execute("UPDATE user_credit_balances SET overdraft_limit = 7")
    await repeat()
    async with ledger.database.write() as connection:
        await set_price(connection, kind="model", name="lamp", rates={"input": 7, "output": 7})
        await set_pricing(connection, credits_per_dollar=Decimal(20), multiplier=Decimal(3))
    await repeat()
    async with ledger.database.write() as connection:
        await set_price(connection, kind="model", name="lamp", rates={})
    (other,) = await charge(ledger, [replace(usage, idempotency_key="other")])
    assert other.outcome == Outcome.UNKNOWN_MODEL
    await repeat()


async def test_a_refusal_leaves_no_trace_of_its_key(ledger: Ledger) -> None:
    user_id = await new_user(ledger, 10)
    refused = use(user_id, "key", 11, enforce=True)
    assert outcomes(await charge(ledger, [refused])) == [Outcome.INSUFFICIENT_CREDITS]
    assert ask(ledger.database.address, "SELECT count(*) FROM credit_usage_events") == [(0,)]
    assert outcomes(await charge(ledger, [use(user_id, "key", 4)])) == [Outcome.RECORDED]


async def test_a_refused_key_may_succeed_later_in_the_same_batch(ledger: Ledger) -> None:
    """Taken out: that only *recorded* charges enter `accepted_keys`."""
    user_id = await new_user(ledger, 10)
    refused = use(user_id, "key", 11, enforce=True)
    receipts = await charge(
        ledger,
        [refused, refused, replace(refused, enforce=False), refused, use(user_id, "key", 1), use(user_id, "new", 1)],
    )
    assert outcomes(receipts) == [
        Outcome.INSUFFICIENT_CREDITS,
        Outcome.INSUFFICIENT_CREDITS,
        Outcome.RECORDED,
        Outcome.REPLAYED,
        Outcome.IDEMPOTENCY_CONFLICT,
        Outcome.RECORDED,
    ]
    assert _answer(receipts[3]) == _answer(receipts[2])


# --- credits that do not suffice --------------------------------------------------------------------------------------


async def test_enforced_charges_are_taken_greedily_in_input_order(ledger: Ledger) -> None:
    """Taken out: `running_balance` for the balance as it was before the batch."""
    one, other = await new_user(ledger, 10), await new_user(ledger, 4)
    wanted = [
        (one, 6, True, Outcome.RECORDED, 4),
        (other, 5, True, Outcome.INSUFFICIENT_CREDITS, 4),
        (one, 6, True, Outcome.INSUFFICIENT_CREDITS, 4),
        (one, 3, True, Outcome.RECORDED, 1),
        (other, 3, False, Outcome.RECORDED, 1),
        (one, 2, True, Outcome.INSUFFICIENT_CREDITS, 1),
        (one, 1, True, Outcome.RECORDED, 0),
        (other, 2, False, Outcome.RECORDED, -1),
        (other, 1, True, Outcome.INSUFFICIENT_CREDITS, -1),
        (one, 0, True, Outcome.RECORDED, 0),
    ]
    usages = [use(user, f"{n}", credits_, enforce=enforce) for n, (user, credits_, enforce, *_) in enumerate(wanted)]
    receipts = await charge(ledger, usages)
    got = [(receipt.outcome, receipt.row and receipt.row.balance) for receipt in receipts]
    assert got == [(outcome, Decimal(balance)) for *_, outcome, balance in wanted]


async def test_an_enforced_charge_of_nothing_passes_where_there_is_nothing(ledger: Ledger) -> None:
    """Taken out: `request.credits > 0`."""
    user_id = await new_user(ledger, 5)
    receipts = await charge(ledger, [use(user_id, "a", 8), use(user_id, "b", 0, enforce=True)])
    assert outcomes(receipts) == [Outcome.RECORDED, Outcome.RECORDED]
    assert receipts[1].row is not None
    assert receipts[1].row.balance == -3


async def test_the_overdraft_limit_counts_as_available(ledger: Ledger) -> None:
    """Taken out: `+ request.overdraft_limit`."""
    user_id = await new_user(ledger, 10)
    ask(ledger.database.address, "UPDATE user_credit_balances SET overdraft_limit = 5")
    receipts = await charge(
        ledger, [use(user_id, "a", "15.1", enforce=True), use(user_id, "b", 14, enforce=True), use(user_id, "c", 2)]
    )
    answers = [(receipt.outcome, receipt.row and (receipt.row.balance, receipt.row.available)) for receipt in receipts]
    assert answers == [
        (Outcome.INSUFFICIENT_CREDITS, (Decimal(10), Decimal(15))),
        (Outcome.RECORDED, (Decimal(-4), Decimal(1))),
        (Outcome.RECORDED, (Decimal(-6), Decimal(-1))),
    ]


async def test_a_refusal_for_credits_says_when_they_come_back(ledger: Ledger) -> None:
    user_id = await new_user(ledger, 1, created_at=NOW)
    (receipt,) = await charge(ledger, [use(user_id, "a", 2, enforce=True)], at=NOW)
    assert receipt.row is not None
    assert receipt.row.next_reset_at == datetime(2026, 4, 10, 12, tzinfo=UTC)
    assert receipt.charge is not None
    assert receipt.charge.credits_charged == 2


# --- action types -----------------------------------------------------------------------------------------------------


async def test_a_new_action_type_is_registered_by_its_first_charge(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    (receipt,) = await charge(ledger, [use(user_id, "a", action_type="chat", model="lamp")])
    assert receipt.outcome == Outcome.RECORDED
    assert ask(ledger.database.address, "SELECT name FROM action_types") == [("chat",)]


async def test_a_strict_list_takes_no_new_action_type(ledger: Ledger) -> None:
    """Taken out: `CASE WHEN strict_action_types THEN 0`."""
    user_id = await new_user(ledger)
    await charge(ledger, [use(user_id, "a")])
    await _make_strict(ledger)
    receipts = await charge(ledger, [use(user_id, "b"), use(user_id, "c", action_type="new", model="lamp")])
    assert outcomes(receipts) == [Outcome.RECORDED, Outcome.UNKNOWN_ACTION_TYPE]
    assert ask(ledger.database.address, "SELECT name FROM action_types") == [("unit",)]


async def test_there_are_five_hundred_action_types_at_most(ledger: Ledger) -> None:
    """Taken out: `500 - (SELECT count(*) …)`."""
    user_id = await new_user(ledger)
    ask(ledger.database.address, "INSERT INTO action_types SELECT 'a' || n FROM generate_series(1, 498) AS n")
    usages = [use(user_id, name, action_type=name, model="lamp") for name in ("new1", "new2", "new3", "a7")]
    receipts = await charge(ledger, usages)
    assert outcomes(receipts) == [
        Outcome.RECORDED,
        Outcome.RECORDED,
        Outcome.UNKNOWN_ACTION_TYPE,
        Outcome.RECORDED,
    ]
    assert ask(ledger.database.address, "SELECT count(*) FROM action_types") == [(500,)]


async def test_two_services_at_once_do_not_exceed_the_bound_of_action_types(ledger: Ledger) -> None:
    address = ledger.database.address
    register = re.sub(r":(names)", r"%(\1)s", source("usage/register_action_types"))
    with connect(address) as one, connect(address, lock_timeout="1s") as other:
        rows(one, "BEGIN")
        rows(one, register, {"names": [f"a{n}" for n in range(300)]})
        with suppress(LockNotAvailable):
            rows(other, register, {"names": [f"b{n}" for n in range(300)]})
        rows(one, "COMMIT")
    assert ask(address, "SELECT count(*) <= 500 FROM action_types") == [(True,)]


# --- prices that change -----------------------------------------------------------------------------------------------


def _lamps(user_id: int, key: str) -> Usage:
    return Usage(user_id=user_id, idempotency_key=key, action_type="chat", model="lamp", input_tokens=10**6)


def _credits(receipts: Sequence[Receipt]) -> list[Decimal | None]:
    return [receipt.row.credits_charged if receipt.row else None for receipt in receipts]


async def test_a_charge_priced_by_an_old_book_is_priced_again(ledger: Ledger) -> None:
    """Taken out: `(SELECT version FROM price_book) <> book_version`; then the second charge costs 10."""
    user_id = await new_user(ledger)
    assert _credits(await charge(ledger, [_lamps(user_id, "a")])) == [10]
    async with ledger.database.write() as connection:
        await set_price(connection, kind="model", name="lamp", rates={"input": 2, "output": 2})
    assert _credits(await charge(ledger, [_lamps(user_id, "b")])) == [20]


async def test_a_price_holds_from_its_very_microsecond(ledger: Ledger) -> None:
    users = [await new_user(ledger, created_at=LONG_AGO) for _ in range(2)]
    async with ledger.database.write() as connection:
        await set_price(connection, kind="model", name="lamp", rates={"input": 2, "output": 2}, valid_from=NOW)
    before = await charge(ledger, [_lamps(users[0], "a")], at=NOW - TICK)
    after = await charge(ledger, [_lamps(users[0], "b"), _lamps(users[1], "c")], at=NOW)
    told = [replace(_lamps(users[1], f"{at}"), occurred_at=at) for at in (NOW - TICK, NOW)]
    assert _credits(before + after + await charge(ledger, told, at=NOW)) == [10, 20, 20, 10, 20]


async def test_the_price_is_of_the_instant_that_the_database_books(ledger: Ledger) -> None:
    """Priced for an instant before the change, booked at the user's last booking, after it.

    Taken out: `booked_at >= priced_until`; then the second charge costs 10.
    """
    user_id = await new_user(ledger, created_at=LONG_AGO)
    async with ledger.database.write() as connection:
        await set_price(connection, kind="model", name="lamp", rates={"input": 2, "output": 2}, valid_from=NOW)
    await charge(ledger, [use(user_id, "a")], at=NOW)
    (receipt,) = await charge(ledger, [_lamps(user_id, "b")], at=NOW - timedelta(hours=1))
    assert receipt.row is not None
    assert (receipt.row.created_at, receipt.row.credits_charged) == (NOW, Decimal(20))


async def test_the_function_books_within_the_window_of_its_prices_only(ledger: Ledger) -> None:
    """Taken out, one at a time: `booked_at < priced_from`, `booked_at >= priced_until`."""
    user_id = await new_user(ledger, created_at=LONG_AGO)
    table = [
        ((None, NOW), NOW - TICK, "recorded"),
        ((None, NOW), NOW, "stale_prices"),
        ((NOW + TICK, None), NOW, "stale_prices"),
        ((NOW, None), NOW, "recorded"),
    ]
    for number, ((since, until), at, outcome) in enumerate(table):
        charges = [RawCharge(user_ids=user_id, keys=f"{number}"), RawCharge(user_ids=NOBODY, keys="b")]
        statement = call(charges, columns="outcome, instant", at=at, priced_from=since, priced_until=until)
        second = "unknown_user" if outcome == "recorded" else outcome
        assert ask(ledger.database.address, statement) == [(outcome, at), (second, at)]


async def test_nothing_is_booked_before_the_last_booking(ledger: Ledger) -> None:
    """Taken out: `greatest(…, last_booking)`."""
    one, other = await new_user(ledger, created_at=LONG_AGO), await new_user(ledger, created_at=LONG_AGO)
    await charge(ledger, [use(one, "a")], at=NOW)
    await charge(ledger, [use(one, "b"), use(other, "b")], at=NOW - timedelta(days=1))
    booked = ask(ledger.database.address, "SELECT recorded_at, created_at FROM credit_usage_events")
    assert booked == [(NOW, NOW)] * 3


# --- what else could go wrong -----------------------------------------------------------------------------------------

# Each gets past Python and fails in the driver or in the database.
POISONS: Mapping[str, Mapping[str, Any]] = {
    "more decimals than an amount has": {"action_type": "chat", "api_cost": Decimal("0.1234567890123")},
    "a NUL": {"description": "\0"},
    "a token count of 33 bits": {"input_tokens": 2**32},
    "more tokens than the bound": {"input_tokens": 10**9 + 1},
    "parts that exceed their whole": {"cache_read_tokens": 1},
    "a NUL within metadata": {"metadata": {"a": "\0"}},
}


async def test_a_charge_that_cannot_be_stored_fails_alone(ledger: Ledger) -> None:
    """Taken out: the halving in `operations.usage._charge`."""
    user_id = await new_user(ledger)
    for name, poison in POISONS.items():
        usages = [use(user_id, f"{name} {n}") for n in range(7)]
        usages[3] = replace(usages[3], **poison)
        receipts = await charge(ledger, usages)
        assert outcomes(receipts) == [Outcome.RECORDED] * 3 + [Outcome.FAILED] + [Outcome.RECORDED] * 3
        assert [receipt.usage for receipt in receipts] == usages


async def test_a_text_that_is_no_unicode_fails_alone(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    receipts = await charge(ledger, [use(user_id, "a"), use(user_id, "b", description="\ud800")])
    assert outcomes(receipts) == [Outcome.RECORDED, Outcome.FAILED]


async def test_one_poisoned_charge_among_five_hundred_fails_alone(ledger: Ledger) -> None:
    users = [await new_user(ledger) for _ in range(5)]
    usages = [use(users[n % 5], f"{n}", "0.01") for n in range(500)]
    usages[317] = replace(usages[317], **POISONS["more decimals than an amount has"])
    receipts = await charge(ledger, usages)
    assert [n for n, receipt in enumerate(receipts) if receipt.outcome != Outcome.RECORDED] == [317]
    assert receipts[317].outcome == Outcome.FAILED
    assert ask(ledger.database.address, "SELECT count(*) FROM credit_usage_events") == [(499,)]


async def test_a_charge_that_the_balance_cannot_hold_fails_alone(ledger: Ledger) -> None:
    user_id, other = await new_user(ledger), await new_user(ledger)
    for batch in range(2):
        full = [use(user_id, f"{batch} {n}", 5 * 10**11) for n in range(1000)]
        assert set(outcomes(await charge(ledger, full))) == {Outcome.RECORDED}
    receipts = await charge(
        ledger, [use(other, "a"), use(user_id, "last", 10**12), use(user_id, "b", 0), use(other, "b")]
    )
    assert outcomes(receipts) == [Outcome.RECORDED, Outcome.FAILED, Outcome.RECORDED, Outcome.RECORDED]


async def test_a_locked_balance_stalls_only_its_own_user(ledger: Ledger) -> None:
    """Taken out: the second call with `skip_locked`; also its precedence over a repeat."""
    users = [await new_user(ledger) for _ in range(3)]
    await charge(ledger, [use(user_id, "old") for user_id in users])
    with connect(ledger.database.address) as other, other.transaction():
        rows(other, "SELECT FROM user_credit_balances WHERE user_id = %s FOR UPDATE", [users[1]])
        keys = ("old", "new")
        receipts = await charge(ledger, [use(user_id, key) for key in keys for user_id in users])
    assert outcomes(receipts) == [
        Outcome.REPLAYED,
        Outcome.BUSY,
        Outcome.REPLAYED,
        Outcome.RECORDED,
        Outcome.BUSY,
        Outcome.RECORDED,
    ]
    again = await charge(ledger, [use(users[1], "new")])
    assert outcomes(again) == [Outcome.RECORDED]


def test_the_function_refuses_to_run_on_a_stale_snapshot(ledger_address: Address) -> None:
    """Taken out: the check of transaction_isolation."""
    for level in ("REPEATABLE READ", "SERIALIZABLE"):
        with connect(ledger_address) as connection:
            rows(connection, f"BEGIN ISOLATION LEVEL {level}")
            with pytest.raises(psycopg.Error, match="READ COMMITTED") as refusal:
                rows(connection, call([RawCharge(user_ids=1, keys="a")]))
        assert refusal.value.sqlstate == "GR004"


def test_a_charge_is_durable_whatever_the_session_says(ledger_address: Address) -> None:
    """Taken out: set_config('synchronous_commit', …). The setting must last until the commit, past the function."""
    got = {}
    for session in ("off", "local", "remote_write", "on", "remote_apply"):
        with connect(ledger_address, synchronous_commit=session) as connection, connection.transaction():
            rows(connection, call([RawCharge(user_ids=1, keys="a")]))
            got[session] = rows(connection, "SHOW synchronous_commit")[0][0]
    assert got == {"off": "on", "local": "on", "remote_write": "on", "on": "on", "remote_apply": "remote_apply"}


async def test_a_balance_from_the_future_draws_nobody_after_it(ledger: Ledger) -> None:
    """Seen to fail with the FILTER on `latest` taken out of charge_batch: the neighbour was booked in 40 days."""
    ahead = await new_user(ledger, created_at=datetime.now(UTC) + timedelta(days=40))
    neighbour = await new_user(ledger)
    receipts = await charge(ledger, [use(ahead, "a"), use(neighbour, "b")])
    assert outcomes(receipts) == [Outcome.BUSY, Outcome.RECORDED]
    assert receipts[1].row is not None
    assert receipts[1].row.instant < datetime.now(UTC) + timedelta(minutes=1)
