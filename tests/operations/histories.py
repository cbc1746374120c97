"""Random histories: charges on time and late, refunds, voids, grants, adjustments, holds, resets, an anonymisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

from tests.operations.account import BIRTH, SqlAccount

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import psycopg

HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\tx",
    "<script>alert(1)</script>",
    'a "b", c',
    "line\nbreak",
    "it's \\n {x}",
    "",
]
_ACTIONS = ("chat", "image", "agent")
_STEPS = 90
_USERS = 4


@dataclass(frozen=True, slots=True)
class Then:
    """An account as it was right after an act."""

    balance: Decimal
    total_consumed: Decimal
    version: int


@dataclass(slots=True)
class History:
    """Accounts, what was done to them, and what each was like at the instant of each act."""

    connection: psycopg.Connection[Any]
    random: Random
    accounts: list[SqlAccount]
    then: dict[tuple[int, datetime], Then] = field(default_factory=dict)
    at: datetime = BIRTH
    _events: list[tuple[SqlAccount, int]] = field(default_factory=list)
    _holds: list[tuple[SqlAccount, int]] = field(default_factory=list)
    _number: int = 0

    def do(self) -> None:
        """Do something to somebody."""
        self.at += self.random.choice(
            [timedelta(0), timedelta(microseconds=1), timedelta(hours=self.random.uniform(0, 30))]
        )
        acts: list[Callable[[SqlAccount], None]] = [
            self._charge, self._charge, self._charge, self._charge_late, self._refund, self._void, self._grant,
            self._adjust, self._hold, self._release, self._change_terms,
        ]  # fmt: skip
        account = self.random.choice(self.accounts)
        self.random.choice(acts)(account)
        self.note(account)

    def note(self, account: SqlAccount) -> None:
        """Note what the account is like, with all that is due by now."""
        account.rows("SELECT settle_account_at(%s, %s)", self.at, account.user_id)
        row = account.row(
            "SELECT current_balance, total_consumed, version FROM user_credit_balances WHERE user_id = %s",
            account.user_id,
        )
        self.then[account.user_id, self.at] = Then(row["current_balance"], row["total_consumed"], row["version"])

    def _key(self) -> str:
        self._number += 1
        return f"key-{self._number}"

    def _amount(self) -> Decimal:
        return Decimal(self.random.choice(["0", "0.00000000001", "0.105", "1", "2.5", "17", "60"]))

    def _charge(self, account: SqlAccount, **fields: Any) -> None:
        answer = account.charge(
            self._key(),
            self._amount(),
            self.at,
            actions=self.random.choice(_ACTIONS),
            models=self.random.choice([None, "lamp"]),
            descriptions=self.random.choice([None, *HOSTILE]),
            **fields,
        )
        self._events.append((account, answer["event_id"]))

    def _charge_late(self, account: SqlAccount) -> None:
        self._charge(account, occurred=str(self.at - timedelta(days=self.random.uniform(0, 34))))

    def _refund(self, _account: SqlAccount) -> None:
        if self._events:
            account, event = self.random.choice(self._events)
            account.refund(self._key(), event, self.random.choice([None, "0.05", "1"]), self.at)
            self.note(account)

    def _void(self, _account: SqlAccount) -> None:
        if self._events:
            account, event = self.random.choice(self._events)
            account.void(self._key(), event, self.at)
            self.note(account)

    def _grant(self, account: SqlAccount) -> None:
        account.grant(
            self._key(),
            self._amount() + 1,
            self.at,
            kind=self.random.choice(["purchase", "promotion"]),
            starts=self.at + timedelta(days=self.random.choice([0, 3])),
            expires=self.at + timedelta(days=self.random.uniform(4, 20)),
        )

    def _adjust(self, account: SqlAccount) -> None:
        account.adjust(self._key(), self.random.choice(["-3", "4.25"]), self.at)

    def _hold(self, account: SqlAccount) -> None:
        answer = account.hold(self._key(), self._amount(), self.at)
        if answer["hold_id"] is not None:
            self._holds.append((account, answer["hold_id"]))

    def _release(self, _account: SqlAccount) -> None:
        if self._holds:
            account, hold = self.random.choice(self._holds)
            account.release(hold, self.at)

    def _change_terms(self, account: SqlAccount) -> None:
        account.set_terms(self.at, rollover=self.random.choice([0, 20]), overdraft=self.random.choice([0, 50]))


def make_history(connection: psycopg.Connection[Any], seed: int) -> History:
    """Make the history of this seed. One of its users has holds open at present, and one is anonymised at the end."""
    random = Random(seed)
    names = random.sample(HOSTILE, _USERS)
    history = History(
        connection, random, [SqlAccount.open(connection, 100, full_name=name.replace("\n", " ")) for name in names]
    )
    for account in history.accounts:
        history.note(account)
    for _ in range(_STEPS):
        history.do()
    somebody, *_, anonymous = history.accounts
    anonymous.rows("SELECT anonymise_user_at(%s, %s, 'token:1')", history.at, anonymous.user_id)
    for number, amount in enumerate(("0.5", "1.25")):
        somebody.rows(
            "SELECT place_hold(%s, %s, %s, 900, 'chat', NULL, '=1+1', '{}')", somebody.user_id, f"hold-{number}", amount
        )
    return history
