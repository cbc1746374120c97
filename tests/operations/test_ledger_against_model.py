"""The ledger does what a model in plain Python does: hypothesis looks for a course of events in which it does not."""

from __future__ import annotations

import asyncio
import sys
from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from groat_server.operations.checks import run_checks
from groat_server.operations.ledger import open_ledger
from tests.auditor import faults
from tests.model import ModelUsage
from tests.operations.ledgers import connect, rows
from tests.operations.steps import NOBODY, USERS_MAX, allowances, steps
from tests.operations.twins import UNKNOWN_ID, Asked, Twins, forget

if TYPE_CHECKING:
    from collections.abc import Callable

    from groat_server.database import Address
    from tests.model import Account, ModelUser

TICK = timedelta(microseconds=1)


class LedgerMachine(RuleBasedStateMachine):
    """Each step is taken by the ledger and by the model; every answer and every row must be equal."""

    connection: ClassVar[psycopg.Connection[tuple[Any, ...]]]
    check: ClassVar[Callable[[], list[str]]]

    def __init__(self) -> None:
        super().__init__()
        forget(self.connection)
        self.twins = Twins(self.connection)
        self.asked: list[Asked | ModelUsage] = []
        self.numbers = count()
        self.now = datetime.now(UTC) + timedelta(minutes=1)
        self.set_back = timedelta(0)

    @initialize(allowance=allowances, day=st.integers(1, 31))
    def begin(self, allowance: Decimal, day: int) -> None:
        """Make somebody to charge."""
        self.twins.add_user(self.now - timedelta(days=day), "UTC", allowance)

    @rule(step=steps())
    def take(self, step: tuple[str, dict[str, Any]]) -> None:
        """Take a step."""
        verb, arguments = step
        getattr(self, verb)(**arguments)

    # --- who there is, and when ---------------------------------------------------------------------------------------

    def add_user(self, months_ago: int, day: int, time: Any, zone: str, allowance: Decimal, *, demo_mode: bool) -> None:
        """Let somebody join, now or long ago, at the end of a month."""
        if len(self.twins.ids) == USERS_MAX:
            return
        year, month = divmod(self.now.year * 12 + self.now.month - 2 - months_ago, 12)
        date = datetime(year, month + 1, min(day, monthrange(year, month + 1)[1]), tzinfo=UTC)
        joined = datetime.combine(date, time.replace(tzinfo=UTC, fold=0))
        self.twins.add_user(joined, zone, allowance, demo_mode=demo_mode)

    def pass_time(self, days: float) -> None:
        """Let nothing happen for a while."""
        self.now += timedelta(days=days)

    def pass_time_to_a_boundary(self, who: int, which: int, ticks: int) -> None:
        """Go to the very microsecond of a reset, a start, an expiry or the end of a hold, or one before or after."""
        account = self._user(who).account
        if account is not None:
            ahead = [instant for instant in _boundaries(account) if instant > self.now] or [account.next_reset_at]
            self.now = max(self.now, ahead[which % len(ahead)] + ticks * TICK)

    def set_clock_back(self, minutes: float) -> None:
        """Let the next verb's clock be late: nothing is booked before what was."""
        self.set_back = timedelta(minutes=minutes)

    def sweep(self) -> None:
        """Let the sweep come by."""
        self.twins.sweep(self.now)

    def settle(self, who: int) -> None:
        """Look at a balance."""
        self.twins.settle(self._id(who), self._at())

    def move_to(self, who: int, zone: str) -> None:
        """Move somebody; the present period stays as it is."""
        rows(self.connection, "UPDATE users SET time_zone = %s WHERE id = %s", [zone, self._id(who)])
        self._user(who).zone = zone

    def enter_demo_mode(self, who: int) -> None:
        """Switch demo mode on, with raw SQL: refused to whoever has a history."""
        user = self._user(who)
        statement = "UPDATE users SET demo_mode = true WHERE id = %s"
        if user.has_history():
            with pytest.raises(psycopg.Error) as refusal:
                rows(self.connection, statement, [self._id(who)])
            assert refusal.value.sqlstate == "GR001"
        else:
            rows(self.connection, statement, [self._id(who)])
            user.close()

    def leave_demo_mode(self, who: int) -> None:
        """Switch demo mode off; the balance opens by the database's own clock."""
        user_id, user = self._id(who), self._user(who)
        ((before,),) = rows(self.connection, "SELECT clock_timestamp()")
        rows(self.connection, "UPDATE users SET demo_mode = false WHERE id = %s", [user_id])
        if user.account is None:
            ((opened, after),) = rows(
                self.connection,
                "SELECT last_recorded_at, clock_timestamp() FROM user_credit_balances WHERE user_id = %s",
                [user_id],
            )
            assert before <= opened <= after
            user.open(opened)

    def anonymise(self, who: int) -> None:
        """Take out who somebody was."""
        if len(self.twins.ids) == USERS_MAX:
            self.twins.anonymise(self._id(who), self._at())

    # --- verbs --------------------------------------------------------------------------------------------------------

    def charge(self, batch: list[tuple[int, str | None, Decimal, str, bool, int | None]]) -> None:
        """Charge a batch, often with keys that were used, in it or before it, and with holds to capture."""
        self._charge(
            [
                self._usage(who, key, credits_, kind, enforce=enforce, hold=hold)
                for who, key, credits_, kind, enforce, hold in batch
            ]
        )

    def charge_settled(self, batch: list[tuple[int, str | None, Decimal]]) -> None:
        """Charge what was paid for elsewhere."""
        usages = [self._usage(*request) for request in batch]
        self._charge(usages, settled=True)

    def grant(self, who: int, key: str | None, *, starts: Any, expires: Any, **details: Any) -> None:
        """Give credits, now or from a later instant on, for ever or not."""
        details |= {"starts_at": self._instant(who, starts), "expires_at": self._instant(who, expires)}
        self._do("grant", who, key, details)

    def adjust(self, who: int, key: str | None, *, amount: Decimal, sign: int, expires: Any) -> None:
        """Correct a balance by hand."""
        self._do("adjust", who, key, {"amount": sign * amount, "expires_at": self._instant(who, expires)})

    def refund(self, who: int, key: str | None, *, place: int, amount: Decimal | None) -> None:
        """Give back a part of a charge, or what is left of it."""
        if not self._has_events(who):
            return self.charge([(who, key, amount or Decimal(10), "unit", False, None)])
        return self._do("refund", who, key, {"event_key": self._event(who, place), "amount": amount})

    def void(self, who: int, key: str | None, *, place: int) -> None:
        """Take out a charge."""
        if not self._has_events(who):
            return self.charge([(who, key, Decimal(10), "unit", False, None)])
        return self._do("void", who, key, {"event_key": self._event(who, place)})

    def place_hold(self, who: int, key: str | None, **details: Any) -> None:
        """Set credits aside."""
        self._do("place_hold", who, key, details)

    def capture(self, who: int, key: str | None, *, place: int, amount: Decimal, enforce: bool) -> None:
        """Charge a use that a hold was placed for."""
        if not self._has_holds(who, place):
            return self.place_hold(who, key, amount=amount, ttl=timedelta(minutes=15))
        return self.charge([(who, key, amount, "unit", enforce, place)])

    def renew_hold(self, who: int, *, place: int, ttl: timedelta) -> None:
        """Let a hold live longer."""
        if not self._has_holds(who, place):
            return self.place_hold(who, None, amount=Decimal(3), ttl=min(ttl, timedelta(days=1)))
        return self._do("renew_hold", who, None, {"hold_key": self._hold(who, place), "ttl": ttl})

    def release_hold(self, who: int, *, place: int) -> None:
        """Let a hold go."""
        if not self._has_holds(who, place):
            return self.place_hold(who, None, amount=Decimal(3), ttl=timedelta(days=1))
        return self._do("release_hold", who, None, {"hold_key": self._hold(who, place)})

    def set_terms(self, who: int, key: str | None, **details: Any) -> None:
        """Change an allowance, at once or from the next period on, and what else can be agreed."""
        self._do("set_terms", who, key, details)

    def repeat(self, choice: int, *, other: Decimal | None, key_of: int | None) -> None:
        """Ask again what was asked before, as it was or with each detail changed, perhaps under another's key."""
        if not self.asked:
            return
        asked = self.asked[choice % len(self.asked)]
        key = asked.key if key_of is None else self.asked[key_of % len(self.asked)].key
        if isinstance(asked, ModelUsage):
            usages = [replace(asked, key=str(key))]
            if other is not None:
                usages = [replace(usages[0], hold="nobody's"), replace(usages[0], content=("unit", other))]
                usages[1] = replace(usages[1], credits=other, refusal=None)
            self._charge(usages)
            return
        changes = (
            [{}] if other is None else [{name: self._other(name, asked.details[name], other)} for name in asked.details]
        )
        for change in changes:
            self.twins.do(replace(asked, key=key, details={**asked.details, **change}), self._at())

    def _other(self, name: str, value: Any, other: Decimal) -> object:
        """Return another value for a detail of what was asked."""
        others: dict[str, object] = {
            "kind": "purchase" if value == "promotion" else "promotion",
            "priority": 42,
            "starts_at": self.now + timedelta(days=99) if value is None else None,
            "expires_at": self.now + timedelta(days=100) if value is None else None,
            "ttl": timedelta(seconds=77),
            "event_key": "nobody's",
            "now": not value,
        }
        return others.get(name, other)

    # --- what must be true --------------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_the_models(self) -> None:
        """Whatever the last step was."""
        self.twins.compare_books(self.now)

    def teardown(self) -> None:
        """At the end of a course of events: which lot paid for what, and what the auditor and the checks say."""
        if sys.exc_info()[0] is None:
            self.twins.sweep(self.now)
            self.twins.compare_draws(self.now)
            assert list(faults(self.connection)) == []
            assert type(self).check() == []

    # --- how it is asked ----------------------------------------------------------------------------------------------

    def _id(self, who: int) -> int:
        return self.twins.ids[who % len(self.twins.ids)]

    def _user(self, who: int) -> ModelUser:
        return self.twins.model.users[self._id(who)]

    def _at(self) -> datetime:
        at, self.set_back = self.now - self.set_back, timedelta(0)
        return at

    def _key(self, key: str | None) -> str:
        return key or f"key {next(self.numbers)}"

    def _instant(self, who: int, wanted: tuple[float, int | None] | None) -> datetime | None:
        if wanted is None:
            return None
        number, which = wanted
        account = self._user(who).account
        if which is None or account is None:
            return self.now + timedelta(days=number)
        boundaries = _boundaries(account)
        return boundaries[which % len(boundaries)] + int(number) * TICK

    def _event(self, who: int, place: int) -> str:
        account = self._user(who).account
        return _chosen(list(account.events) if account else [], place)

    def _hold(self, who: int, place: int) -> str:
        account = self._user(who).account
        holds = sorted(account.holds.values(), key=lambda hold: hold.state_at(self.now) == "open") if account else []
        return _chosen([hold.key for hold in holds], place)  # open ones stand last

    def _has_events(self, who: int) -> bool:
        account = self._user(who).account
        return account is not None and bool(account.events)

    def _has_holds(self, who: int, place: int = -1) -> bool:
        """Whether there is a hold to be had; most often one that is open is wanted."""
        account = self._user(who).account
        if account is None or not account.holds:
            return False
        return place in {0, NOBODY} or any(hold.state_at(self.now) == "open" for hold in account.holds.values())

    def _usage(
        self,
        who: int,
        key: str | None,
        credits_: Decimal,
        kind: str = "unit",
        *,
        enforce: bool = False,
        hold: int | None = None,
    ) -> ModelUsage:
        return ModelUsage(
            user_id=UNKNOWN_ID if who == NOBODY else self._id(who),
            key=self._key(key),
            credits=None if kind == "unknown" else credits_,
            content=(kind, credits_),
            enforce=enforce,
            refusal="unknown_model" if kind == "unknown" else None,
            hold=None if hold is None or (hold != NOBODY and not self._has_holds(who)) else self._hold(who, hold),
        )

    def _charge(self, batch: list[ModelUsage], *, settled: bool = False) -> None:
        self.twins.charge(batch, self._at(), settled=settled)
        self.asked += batch

    def _do(self, verb: str, who: int, key: str | None, details: dict[str, Any]) -> None:
        needs_no_key = verb in {"renew_hold", "release_hold"}
        asked = Asked(verb=verb, user_id=self._id(who), key=None if needs_no_key else self._key(key), details=details)
        self.twins.do(asked, self._at())
        if not needs_no_key:
            self.asked.append(asked)


def _boundaries(account: Account) -> list[datetime]:
    """List the instants at which something of an account changes by itself, the next reset among them."""
    lots = [at for lot in account.lots.lots for at in (lot.starts_at, lot.expires_at) if at is not None]
    return sorted({account.next_reset_at, *lots, *(hold.expires_at for hold in account.holds.values())})


def _chosen(keys: list[str], place: int) -> str:
    return keys[place % len(keys)] if keys and place != NOBODY else "nobody's"


@pytest.mark.timeout(900)
def test_the_ledger_does_what_the_model_does(ledger_address: Address) -> None:
    opened = open_ledger(ledger_address, provider_durability=True)
    with asyncio.Runner() as runner, connect(ledger_address) as connection:
        ledger = runner.run(opened.__aenter__())

        def check() -> list[str]:
            results = runner.run(run_checks(ledger))
            return [f"{check.name}: {check.findings}" for check in results if check.verdict == "fail"]

        LedgerMachine.connection, LedgerMachine.check = connection, check
        try:
            run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=settings().max_examples // 2))
        finally:
            runner.run(opened.__aexit__(None, None, None))
