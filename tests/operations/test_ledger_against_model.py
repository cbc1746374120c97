"""The ledger does what a model in plain Python does: hypothesis looks for a course of events in which it does not."""

from __future__ import annotations

import asyncio
from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from groat_server.operations.ledger import open_ledger
from groat_server.operations.usage import charge
from tests.model import ModelLedger, ModelUsage, ModelUser
from tests.operations.ledgers import connect, new_user, rows, use

if TYPE_CHECKING:
    from collections.abc import Callable

    from groat_server.core.usage import Usage
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.usage import Receipt

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe")
UNKNOWN_USER = 10**9

amounts = st.sampled_from([Decimal(text) for text in ("0", "0.00000000001", "0.7", "3", "10", "10.5", "60")])
allowances = st.sampled_from([Decimal(text) for text in ("0", "10", "30.25", "100")])
keys = st.sampled_from(["a", "b", "c", "d", "e", "f"])
# Kinds of charges: by unit, at a cost that the caller states, and of a model that nobody knows.
kinds = st.sampled_from(["unit", "unit", "unit", "caller", "unknown"])
requests = st.tuples(st.integers(0, 5), keys, amounts, kinds, st.booleans())


class LedgerMachine(RuleBasedStateMachine):
    """Each step is taken by the ledger and by the model; every answer and every balance must be equal."""

    ledger: ClassVar[Ledger]
    connection: ClassVar[psycopg.Connection[tuple[Any, ...]]]
    run: ClassVar[Callable[..., Any]]

    def __init__(self) -> None:
        super().__init__()
        self.model = ModelLedger()
        self.ids: list[int] = []
        self.requested: list[tuple[Usage, ModelUsage]] = []
        self.at = datetime.now(UTC) + timedelta(minutes=1)

    @initialize(allowance=allowances)
    def begin(self, allowance: Decimal) -> None:
        """Make somebody to charge."""
        self._new_user(self.at - timedelta(days=20), "UTC", allowance, demo_mode=False)

    @precondition(lambda self: len(self.ids) < 5)
    @rule(
        months_ago=st.integers(0, 26),
        day=st.integers(28, 31),
        time=st.times(),
        zone=st.sampled_from(ZONES),
        allowance=allowances,
        demo_mode=st.sampled_from([False, False, True]),
    )
    def add_user(self, months_ago: int, day: int, time: Any, zone: str, allowance: Decimal, *, demo_mode: bool) -> None:
        """Let somebody join, now or long ago, at the end of a month."""
        year, month = divmod(self.at.year * 12 + self.at.month - 2 - months_ago, 12)
        date = datetime(year, month + 1, min(day, monthrange(year, month + 1)[1]), tzinfo=UTC)
        joined = datetime.combine(date, time.replace(tzinfo=UTC, fold=0))
        self._new_user(joined, zone, allowance, demo_mode=demo_mode)

    @rule(batch=st.lists(requests, min_size=1, max_size=6))
    def charge(self, batch: list[tuple[int, str, Decimal, str, bool]]) -> None:
        """Charge a batch, often with keys that were used, in it or before it."""
        self._charge([self._usage(*request) for request in batch])

    @precondition(lambda self: self.requested)
    @rule(choice=st.integers(0, 1000), other_credits=st.none() | amounts)
    def repeat(self, choice: int, other_credits: Decimal | None) -> None:
        """Send an old charge again, perhaps with other content."""
        usage, modelled = self.requested[choice % len(self.requested)]
        if other_credits is not None:
            usage = replace(usage, action_type="unit", model=None, api_cost=None, quantity=other_credits)
            modelled = replace(modelled, credits=other_credits, content=("unit", other_credits), refusal=None)
        self._charge([(usage, modelled)])

    @rule(days=st.floats(0, 75))
    def pass_time(self, days: float) -> None:
        """Let nothing happen for a while."""
        self.at += timedelta(days=days)

    @rule(who=st.integers(0, 5), ticks=st.integers(-1, 1))
    def pass_time_to_a_boundary(self, who: int, ticks: int) -> None:
        """Go to the very microsecond of somebody's reset, or one before or after."""
        account = self.model.users[self._id(who)].account
        if account is not None:
            self.at = max(self.at, account.next_reset_at + timedelta(microseconds=ticks))

    @rule()
    def sweep(self) -> None:
        """Let the sweep come by."""
        while rows(self.connection, "SELECT sweep_due_at(%s, 3)", [self.at]) == [(3,)]:
            pass
        self.model.sweep(self.at)

    @rule(who=st.integers(0, 5))
    def settle(self, who: int) -> None:
        """Look at a balance."""
        user_id = self._id(who)
        settled = rows(self.connection, "SELECT settle_account_at(%s, %s)", [self.at, user_id])
        assert settled == [(self.model.settle(user_id, self.at),)]

    @rule(who=st.integers(0, 5), allowance=allowances, now=st.booleans())
    def set_allowance(self, who: int, allowance: Decimal, *, now: bool) -> None:
        """Change an allowance, at once or from the next period on."""
        user_id = self._id(who)
        statement = "SELECT set_allowance_at(%s, %s, %s, %s, 'the model')"
        changed = rows(self.connection, statement, [self.at, user_id, allowance, now])
        assert changed == [(self.model.set_allowance(user_id, allowance, self.at, now=now),)]

    @rule(who=st.integers(0, 5), zone=st.sampled_from(ZONES))
    def move_to(self, who: int, zone: str) -> None:
        """Move somebody; the present period stays as it is."""
        user_id = self._id(who)
        rows(self.connection, "UPDATE users SET time_zone = %s WHERE id = %s", [zone, user_id])
        self.model.users[user_id].zone = zone

    @rule(who=st.integers(0, 5))
    def enter_demo_mode(self, who: int) -> None:
        """Switch demo mode on, with raw SQL: refused to whoever has a history."""
        user_id = self._id(who)
        user = self.model.users[user_id]
        statement = "UPDATE users SET demo_mode = true WHERE id = %s"
        if user.has_history():
            with pytest.raises(psycopg.Error) as refusal:
                rows(self.connection, statement, [user_id])
            assert refusal.value.sqlstate == "GR001"
        else:
            rows(self.connection, statement, [user_id])
            user.close()

    @rule(who=st.integers(0, 5))
    def leave_demo_mode(self, who: int) -> None:
        """Switch demo mode off; the balance opens by the database's own clock."""
        user_id = self._id(who)
        user = self.model.users[user_id]
        ((before,),) = rows(self.connection, "SELECT clock_timestamp()")
        rows(self.connection, "UPDATE users SET demo_mode = false WHERE id = %s", [user_id])
        if user.account is None:
            ((opened, after),) = rows(
                self.connection,
                "SELECT recorded_at, clock_timestamp() FROM credit_ledger_entries WHERE user_id = %(user_id)s"
                " UNION ALL SELECT last_recorded_at, clock_timestamp() FROM user_credit_balances"
                " WHERE user_id = %(user_id)s LIMIT 1",
                {"user_id": user_id},
            )
            assert before <= opened <= after
            user.open(opened)

    @invariant()
    def every_balance_is_the_models(self) -> None:
        """Whatever the last step was."""
        if not self.ids:
            return
        found = rows(
            self.connection,
            "SELECT user_id, current_balance, monthly_allowance, current_month_consumed, total_consumed, period_start,"
            " next_reset_at, next_boundary_at, version, last_recorded_at FROM user_credit_balances"
            " WHERE user_id = ANY (%s) ORDER BY user_id",
            [self.ids],
        )
        assert found == [
            (user_id, account.balance, account.allowance, account.month, account.total, account.period_start,
             account.next_reset_at, account.next_reset_at, account.version, account.last_booking)
            for user_id, account in ((user_id, self.model.users[user_id].account) for user_id in self.ids)
            if account is not None
        ]  # fmt: skip

    @invariant()
    def every_entry_is_the_models(self) -> None:
        """Kind, amount and instant of each, in order."""
        found = rows(
            self.connection,
            "SELECT user_id, kind, amount, recorded_at FROM credit_ledger_entries WHERE user_id = ANY (%s)"
            " ORDER BY user_id, version",
            [self.ids],
        )
        assert found == [
            (user_id, *entry)
            for user_id in self.ids
            if (account := self.model.users[user_id].account) is not None
            for entry in account.entries
        ]

    def _new_user(self, joined: datetime, zone: str, allowance: Decimal, *, demo_mode: bool) -> None:
        made = new_user(self.ledger, str(allowance), demo_mode=demo_mode, time_zone=zone, created_at=joined)
        user_id = self.run(made)
        self.ids.append(user_id)
        user = self.model.users[user_id] = ModelUser(joined, zone, allowance)
        if not demo_mode:
            user.open(joined)

    def _id(self, who: int) -> int:
        return self.ids[who % len(self.ids)]

    def _usage(self, who: int, key: str, credits_: Decimal, kind: str, enforce: bool) -> tuple[Usage, ModelUsage]:  # noqa: FBT001
        user_id = self.ids[who] if who < len(self.ids) else UNKNOWN_USER
        modelled = ModelUsage(user_id=user_id, key=key, credits=credits_, content=(kind, credits_), enforce=enforce)
        usage = use(user_id, key, credits_, enforce=enforce)
        match kind:
            case "caller":
                return replace(usage, action_type="chat", quantity=None, api_cost=credits_ / 10), modelled
            case "unknown":
                unknown = replace(usage, action_type="chat", quantity=credits_, model="no-such-model")
                return unknown, replace(modelled, credits=None, refusal="unknown_model")
        return usage, modelled

    def _charge(self, batch: list[tuple[Usage, ModelUsage]]) -> None:
        receipts: list[Receipt] = self.run(charge(self.ledger, [usage for usage, _ in batch], at=self.at))
        answers = self.model.charge([modelled for _, modelled in batch], self.at)
        for receipt, answer in zip(receipts, answers, strict=True):
            row = receipt.row
            assert row is not None
            assert (receipt.outcome, row.credits_charged, row.balance, row.available, row.version) == (
                answer.outcome,
                answer.credits,
                answer.balance,
                answer.balance,
                answer.version,
            )
        self.requested += batch


@pytest.mark.timeout(900)
def test_the_ledger_does_what_the_model_does(ledger_address: Address) -> None:
    opened = open_ledger(ledger_address, provider_durability=True)
    with asyncio.Runner() as runner, connect(ledger_address) as connection:
        LedgerMachine.ledger = runner.run(opened.__aenter__())
        LedgerMachine.connection, LedgerMachine.run = connection, runner.run
        try:
            run_state_machine_as_test(LedgerMachine, settings=settings())
        finally:
            runner.run(opened.__aexit__(None, None, None))
