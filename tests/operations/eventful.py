"""A ledger in which everything has happened: every verb, at chosen instants and at random ones, up to the present."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from tests.operations.account import RESET, SqlAccount, day

if TYPE_CHECKING:
    from datetime import datetime

    import psycopg

TIERED = '{"input": [[0, 1.5], [1000, 2.25]], "output": 3, "cache_read": 0.1, "reasoning": 4.000001, "request": 0.002}'
_STEPS = 260
_SEED = 20260110


@dataclass(frozen=True, slots=True)
class Eventful:
    """Who is in it. `ann`, `bob`, `cay` did everything; `dan` and `eve` are from before there were lots."""

    ann: int
    bob: int
    cay: int
    dan: int
    eve: int
    forgotten: int
    quiet: int
    demo: int


def make_eventful(connection: psycopg.Connection[Any]) -> Eventful:
    """Make it on an empty ledger."""
    connection.execute(
        "INSERT INTO price_versions (kind, name, source, rates) VALUES ('model', 'tiered', 'override', %s::jsonb)",
        [TIERED],
    )
    ann, bob, cay, dan, eve, forgotten, quiet = (
        SqlAccount.open(connection, allowance, external_id=f"x{number}", time_zone=zone)
        for number, (allowance, zone) in enumerate(
            [(100, "UTC"), (20, "Europe/Berlin"), (50, "UTC"), (100, "UTC"), (10, "UTC"), (100, "UTC"), (100, "UTC")]
        )
    )
    demo = SqlAccount.open(connection, 100, demo_mode=True)
    _from_before_lots(dan, 40)
    _from_before_lots(eve, 15)
    _lots_come_and_go(ann)
    _debts_are_paid_and_undone(bob)
    _holds_end_in_every_way(cay)
    _price_lists_price(ann)
    _history_is_settled(cay)
    _is_forgotten(forgotten)
    random = Random(_SEED)
    at = day(60)
    for number in range(_STEPS):
        at += timedelta(hours=random.uniform(0, 8))
        _anything(random, random.choice([ann, bob, cay, dan, eve]), f"random {number}", at)
    for account in (ann, bob, cay, dan, eve):
        _now(account)
    bob.charge("owed", 1000, _seconds_ago(bob, 5))
    bob.adjust("boundary of the present", -1, _seconds_ago(bob, 4))
    connection.execute("SELECT sweep_due(1000), sweep_holds(1000)")
    return Eventful(*(account.user_id for account in (ann, bob, cay, dan, eve, forgotten, quiet, demo)))


def _from_before_lots(account: SqlAccount, charged: int) -> None:
    """Put an account into the state in which a migration leaves one, with a period and charges behind it."""
    account.charge("before", 7, day(1))
    account.settle(RESET)
    event_id = account.charge("before too", charged, day(35))["event_id"]
    with account.connection.transaction():
        account.rows("SET LOCAL session_replication_role = replica")
        for statement in (
            "DELETE FROM credit_lot_draws WHERE user_id = %s",
            "DELETE FROM credit_lots WHERE user_id = %s",
            "UPDATE credit_ledger_entries SET lot_id = NULL WHERE user_id = %s",
            "UPDATE user_credit_balances SET allocated = total_consumed WHERE user_id = %s",
            """
            INSERT INTO credit_lots (user_id, kind, amount, remaining, priority, starts_at, expires_at, version)
            SELECT user_id, 'allowance', current_balance, current_balance, 10, period_start, next_reset_at, version
            FROM user_credit_balances WHERE current_balance > 0 AND user_id = %s
            """,
            """
            INSERT INTO credit_lot_draws (user_id, first_credit, amount)
            SELECT user_id, allocated + current_balance, -current_balance
            FROM user_credit_balances WHERE current_balance < 0 AND user_id = %s
            """,
        ):
            account.rows(statement, account.user_id)
    account.refund("refund of before", event_id, 5, day(36))


def _lots_come_and_go(account: SqlAccount) -> None:
    """Leave refunds to a lot that lasts and to one that has gone, expiries, a rollover and a scheduled grant."""
    account.set_terms(day(1), rollover=30)
    account.grant("promotion", 40, day(1), kind="promotion", priority=5, expires=day(10))
    account.grant("bought", 500, day(1), cost="0.08")
    first = account.charge("first", 25, day(2))["event_id"]
    second = account.charge("second", 10, day(3))["event_id"]
    account.refund("refund in time", first, "12.5", day(4))
    account.refund("refund late", first, None, day(12))
    account.void("void late", second, day(13))
    account.charge("much", 130, day(14))
    account.grant("boundary", 1, day(15), kind="promotion", expires=day(16))
    account.grant("scheduled", 10, day(16), kind="promotion", starts=day(20), expires=day(30))
    account.settle(RESET + timedelta(days=1))
    account.adjust("more", 30, day(40))
    account.adjust("less", -15, day(41))
    account.grant("far away", 10, day(42), starts=day(5000), expires=day(6000))


def _debts_are_paid_and_undone(account: SqlAccount) -> None:
    """Leave debts of which one was undone, one paid late, and one is owed; and a raised allowance."""
    event_id = account.charge("into debt", 35, day(1))["event_id"]
    account.refund("of debt", event_id, 5, day(2))
    other_id = account.charge("deeper", 8, day(3))["event_id"]
    account.void("of all debt", other_id, day(4))
    account.grant("pays", 4, day(5))
    account.set_terms(day(6), "raise", allowance=24, grant_now=True)
    account.charge("deepest", 400, day(7))
    account.adjust("boundary", -1, day(8))


def _holds_end_in_every_way(account: SqlAccount) -> None:
    minute = timedelta(minutes=1)
    in_time = account.hold("hold 1", 2, day(1))["hold_id"]
    account.charge("captured", 1, day(1) + minute, holds=in_time)
    late = account.hold("hold 2", 2, day(2))["hold_id"]
    account.charge("captured late", 3, day(3), holds=late)
    released = account.hold("hold 3", 2, day(4))["hold_id"]
    account.release(released, day(4) + minute)
    renewed = account.hold("hold 4", 2, day(5))["hold_id"]
    account.renew(renewed, 3600, day(5) + minute)
    voided = account.hold("hold 5", 2, day(6))["hold_id"]
    event_id = account.charge("captured, then voided", 1, day(6) + minute, holds=voided)["event_id"]
    account.void("void of a capture", event_id, day(7))
    account.hold("hold 6", 2, day(8))


def _price_lists_price(account: SqlAccount) -> None:
    """Charge by a model's rates, in either tier, and by an action's price."""
    priced = (
        ("small", "model", "tiered", {"inputs": 1000, "outputs": 500, "cache_reads": 100}, "0.00486"),
        ("large", "model", "tiered", {"inputs": 1001, "outputs": 500, "reasonings": 499}, "0.006251250499"),
        ("lamp", "model", "lamp", {"inputs": 1000, "outputs": 500}, "0.002"),
        ("units", "action", "unit", {"quantities": "2.5"}, None),
    )
    charges = []
    for key, source, name, fields, cost in priced:
        price_id = account.row("SELECT max(id) AS id FROM price_versions WHERE name = %s", name)["id"]
        owed = "2.5" if cost is None else format((Decimal(cost) * 10).normalize(), "f")
        model = None if cost is None else name
        charge = account.use(key, owed, sources=source, prices=price_id, models=model, **fields)
        charges.append(replace(charge, costs=cost))
    account.charge_all(charges, day(43))


def _history_is_settled(account: SqlAccount) -> None:
    uses = [account.use(f"settled {number}", 30, occurred=day(5), backfills=True) for number in range(3)]
    account.charge_all(uses, day(44), settled=True)


def _is_forgotten(account: SqlAccount) -> None:
    """Let somebody be anonymised who has something of everything."""
    account.charge("mine", 5, day(1), descriptions="about me", sessions="s", metadatas='{"a": 1}')
    event_id = account.charge("x5 voided", 5, day(2), descriptions="about me")["event_id"]
    account.void("void", event_id, day(3))
    account.grant("x5 grant", 5, day(4))
    account.hold("x5 hold", 5, day(5))
    account.rows("SELECT anonymise_user_at(%s, %s, 'token:1')", day(45), account.user_id)


def _anything(random: Random, account: SqlAccount, key: str, at: datetime) -> None:
    """Do something at random; what is refused is refused. Events that the corruptions name are left alone."""
    events = account.rows(
        "SELECT id FROM credit_usage_events WHERE user_id = %s AND idempotency_key ~ '^(random|before)'",
        account.user_id,
    )
    event_id = random.choice(events)["id"] if events else 0
    amount = random.choice(["0", "0.00000000001", "0.7", "3", "10.25", "60"])
    match random.randrange(12):
        case 0:
            account.refund(key, event_id, random.choice([None, amount]), at)
        case 1:
            account.void(key, event_id, at)
        case 2:
            expires = random.choice([None, at + timedelta(days=random.uniform(0, 20))])
            starts = random.choice([None, at + timedelta(days=random.uniform(0, 5))])
            account.grant(key, "12.5", at, kind="promotion", starts=starts, expires=expires)
        case 3:
            account.adjust(key, random.choice(["5.5", "-5.5"]), at)
        case 4:
            hold_id = account.hold(key, amount, at)["hold_id"]
            if hold_id is not None and random.random() < 0.5:
                account.charge(f"{key} captured", amount, at, holds=hold_id)
        case 5:
            account.set_terms(at, key, allowance=random.choice([10, 60]), grant_now=True, rollover=5)
        case _:
            account.charge(key, amount, at, occurred=random.choice([None, at - timedelta(hours=30)]))


def _now(account: SqlAccount) -> None:
    """Be in use: charges of the present period, one for nothing, one voided, and a hold."""
    at = _seconds_ago(account, 10)
    account.grant("present", 70, at, expires=at + timedelta(days=20))
    for number in range(3):
        at += timedelta(seconds=1)
        account.charge(f"present {number}", number, at)
    event_id = account.charge("present and voided", 2, at)["event_id"]
    account.void("void of the present", event_id, at)
    account.hold("present hold", 1, at, seconds=86_400)


def _seconds_ago(account: SqlAccount, seconds: int) -> datetime:
    instant: datetime = account.row("SELECT clock_timestamp() AS at")["at"]
    return instant - timedelta(seconds=seconds)
