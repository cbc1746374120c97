"""The whole ledger: users, and every verb that moves credits or sets them aside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.model.account import Account, Hold
from tests.model.answers import Answer
from tests.model.charging import charge, standing
from tests.model.periods import following_boundary, period_start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from tests.model.charging import ModelUsage


@dataclass(slots=True)
class ModelUser:
    """One user; `account` is None in demo mode."""

    anchor: datetime
    zone: str
    opening_allowance: Decimal
    account: Account | None = None
    is_anonymous: bool = False

    def open(self, at: datetime) -> None:
        """Open the balance with the present period's allowance."""
        start = period_start(self.anchor, self.zone, at)
        ends = self.following_reset(start)
        account = Account(allowance=self.opening_allowance, period_start=start, next_reset_at=ends, last_booking=at)
        if self.opening_allowance:
            lot = account.lots.bring_in("allowance", self.opening_allowance, starts_at=at, expires_at=ends)
            account.bring_in(lot, at)
        self.account = account

    def close(self) -> None:
        """Enter demo mode: the balance goes."""
        self.account = None

    def following_reset(self, start: datetime) -> datetime:
        """Return when a period that begins at `start` ends."""
        return following_boundary(self.anchor, self.zone, start)

    def has_history(self) -> bool:
        """Whether there is more than a first allowance, which came with its period, or another one is to come."""
        if self.account is None:
            return False
        return (
            bool(self.account.keys)
            or len(self.account.entries) > 1
            or self.account.was_raised
            or self.account.allowance != self.opening_allowance
        )

    def roll(self, instant: datetime) -> None:
        """Carry out what is due."""
        if self.account is not None:
            self.account.roll(instant, self.following_reset)


@dataclass(slots=True)
class ModelLedger:
    """The whole ledger. An `at` is the caller's clock; nothing is booked before a user's last booking."""

    users: dict[int, ModelUser] = field(default_factory=dict)

    def charge(self, usages: Sequence[ModelUsage], at: datetime, *, settled: bool = False) -> list[Answer]:
        """Charge a batch: one instant, not before any of its users' last booking; in order; each key once.

        What is `settled` was paid elsewhere: one adjustment a user pays for all of it.
        """
        touched = [self.users[usage.user_id] for usage in usages if usage.user_id in self.users]
        instant = max([at, *(user.account.last_booking for user in touched if user.account)])
        for user in touched:
            user.roll(instant)
        answers: list[Answer] = []
        charged: dict[int, Decimal] = {}
        for usage in usages:
            answers.append(self._charge(usage, instant, settled=settled))
            if answers[-1].outcome == "recorded" and usage.credits:
                charged[usage.user_id] = charged.get(usage.user_id, Decimal(0)) + usage.credits
        for user_id, credits_ in charged.items() if settled else ():
            self.account(user_id).settle(credits_, instant)
        return answers

    def _charge(self, usage: ModelUsage, instant: datetime, *, settled: bool) -> Answer:
        user = self.users.get(usage.user_id)
        if user is None or user.is_anonymous:
            return Answer(outcome="unknown_user")
        if user.account is None:
            return Answer(outcome="untracked")
        return charge(user.account, usage, instant, settled=settled)

    def grant(
        self,
        user_id: int,
        key: str,
        at: datetime,
        *,
        kind: str,
        amount: Decimal,
        priority: int | None = None,
        cost_basis: Decimal | None = None,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
    ) -> Answer:
        """Give credits that were bought or are a present, now or from a later instant on."""

        def give(account: Account, instant: datetime) -> Answer:
            start = max(instant, starts_at or instant)
            if expires_at is not None and expires_at <= start:
                return Answer(outcome="expires_too_early")
            lot = account.lots.bring_in(
                kind,
                amount,
                starts_at=start,
                expires_at=expires_at,
                priority=priority,
                cost_basis=cost_basis,
                is_booked=False,
            )
            if start == instant:
                account.bring_in(lot, instant)
                account.lots.pay_debts(instant)
            return Answer(
                outcome="granted" if start == instant else "scheduled",
                kind=kind,
                amount=amount,
                priority=lot.priority,
                cost_basis=cost_basis,
                starts_at=start,
                expires_at=expires_at,
            )

        content = (kind, amount, priority, cost_basis, starts_at, expires_at)
        return self._once(user_id, key, at, verb="grant", content=content, act=give)

    def adjust(
        self, user_id: int, key: str, at: datetime, *, amount: Decimal, expires_at: datetime | None = None
    ) -> Answer:
        """Correct a balance: more credits are a lot, fewer are drawn as a charge would draw them."""

        def correct(account: Account, instant: datetime) -> Answer:
            if expires_at is not None and expires_at <= instant:
                return Answer(outcome="expires_too_early")
            if amount > 0:
                lot = account.lots.bring_in("adjustment", amount, starts_at=instant, expires_at=expires_at)
                account.bring_in(lot, instant)
                account.lots.pay_debts(instant)
            else:
                account.book("adjustment", amount, instant)
                account.lots.draw(-amount, instant)
            return Answer(outcome="adjusted", amount=amount)

        return self._once(user_id, key, at, verb="adjustment", content=(amount, expires_at), act=correct)

    def refund(self, user_id: int, key: str, at: datetime, *, event_key: str, amount: Decimal | None) -> Answer:
        """Give back a part of a charge, or the rest of it."""

        def give_back(account: Account, instant: datetime) -> Answer:
            event = account.events.get(event_key)
            if event is None:
                return Answer(outcome="unknown_event")
            if event.is_voided:
                return Answer(outcome="event_voided")
            rest = event.credits - event.refunded
            refunded = rest if amount is None else amount
            if not refunded:
                return Answer(outcome="nothing_to_refund")
            if refunded > rest:
                return Answer(outcome="refund_exceeds_charge")
            account.book("refund", refunded, instant, event=event)
            event.refunded += refunded
            account.give_back(event, refunded, instant)
            return Answer(outcome="refunded", amount=refunded, version=account.version)

        return self._once(user_id, key, at, verb="refund", content=(event_key, amount), act=give_back)

    def void(self, user_id: int, key: str, at: datetime, *, event_key: str) -> Answer:
        """Take out an event that should not have been, and give all of it back."""

        def take_out(account: Account, instant: datetime) -> Answer:
            event = account.events.get(event_key)
            if event is None:
                return Answer(outcome="unknown_event")
            if event.is_voided:
                return Answer(outcome="event_voided")
            if event.refunded:
                return Answer(outcome="event_refunded")
            account.take_out(event, instant)
            return Answer(outcome="voided", amount=event.credits, version=account.version)

        return self._once(user_id, key, at, verb="void", content=event_key, act=take_out)

    def place_hold(self, user_id: int, key: str, at: datetime, *, amount: Decimal, ttl: timedelta) -> Answer:
        """Set credits aside where they are available."""

        def place(account: Account, instant: datetime) -> Answer:
            if amount > 0 and amount > account.available(instant):
                return replace(standing(account, instant), outcome="insufficient_credits")
            hold = account.holds[key] = Hold(key=key, amount=amount, created_at=instant, expires_at=instant + ttl)
            account.last_booking = instant
            return Answer(outcome="held", amount=amount, state="open", expires_at=hold.expires_at)

        answer = self._once(user_id, key, at, verb="hold", content=(amount, ttl), act=place)
        return replace(answer, outcome="untracked") if answer.outcome == "demo_mode" else answer

    def renew_hold(self, user_id: int, hold_key: str, at: datetime, *, ttl: timedelta) -> Answer:
        """Let an open hold live longer."""
        account, instant, hold = self._hold(user_id, hold_key, at)
        if account is None or hold is None:
            return Answer(outcome="unknown_hold")
        if hold.state_at(instant) != "open":
            return Answer(outcome="hold_captured" if hold.state == "captured" else "hold_not_open")
        hold.renew(instant, ttl)
        account.last_booking = instant
        return replace(standing(account, instant), outcome="renewed", state="open", expires_at=hold.expires_at)

    def release_hold(self, user_id: int, hold_key: str, at: datetime) -> Answer:
        """Let a hold go; one that is gone is let go already."""
        account, instant, hold = self._hold(user_id, hold_key, at)
        if account is None or hold is None:
            return Answer(outcome="unknown_hold")
        if hold.state == "captured":
            return Answer(outcome="hold_captured")
        if hold.state_at(instant) == "open":
            hold.state = "released"
            account.last_booking = instant
        return replace(standing(account, instant), outcome="released", state=hold.state_at(instant))

    def set_terms(
        self,
        user_id: int,
        key: str | None,
        at: datetime,
        *,
        allowance: Decimal | None = None,
        now: bool = False,
        overdraft: Decimal | None = None,
        rollover_cap: Decimal | None = None,
    ) -> Answer:
        """Change what is given of a balance's terms; `now` grants what is missing of the allowance in this period."""

        def change(account: Account, instant: datetime) -> Answer:
            account.allowance = account.allowance if allowance is None else allowance
            account.overdraft = account.overdraft if overdraft is None else overdraft
            account.rollover_cap = account.rollover_cap if rollover_cap is None else rollover_cap
            missing = Decimal(0) if allowance is None or not now else allowance - account.granted
            if missing <= 0:
                return Answer(outcome="changed")
            lot = account.lots.bring_in("allowance", missing, starts_at=instant, expires_at=account.next_reset_at)
            account.bring_in(lot, instant)
            account.lots.pay_debts(instant)
            account.was_raised = True
            return Answer(outcome="changed", amount=missing, expires_at=account.next_reset_at)

        return self._once(
            user_id, key, at, verb="allowance", content=(allowance, now, overdraft, rollover_cap), act=change
        )

    def anonymise(self, user_id: int, at: datetime) -> None:
        """Take out who somebody was: nothing is booked any more, and no hold stays open."""
        user = self.users[user_id]
        if user.is_anonymous:
            return
        instant = self.settle(user_id, at)
        user.is_anonymous = True
        if user.account is not None and instant is not None:
            user.account.last_booking = instant
            for hold in user.account.holds.values():
                hold.state = "released" if hold.state_at(instant) == "open" else hold.state_at(instant)

    def sweep(self, at: datetime) -> None:
        """Carry out what is due, for everybody, and write down which holds have expired."""
        for user in self.users.values():
            user.roll(at)
            for hold in user.account.holds.values() if user.account else ():
                hold.state = hold.state_at(at)

    def settle(self, user_id: int, at: datetime) -> datetime | None:
        """Carry out what is due for one user and return the instant, None where there is no balance."""
        user = self.users.get(user_id)
        if user is None or user.account is None:
            return None
        instant = max(at, user.account.last_booking)
        user.roll(instant)
        return instant

    def account(self, user_id: int) -> Account:
        """Return the account of a user who has one."""
        account = self.users[user_id].account
        assert account is not None
        return account

    def _hold(self, user_id: int, key: str, at: datetime) -> tuple[Account | None, datetime, Hold | None]:
        instant = self.settle(user_id, at)
        if instant is None:
            return None, at, None
        account = self.account(user_id)
        return account, instant, account.holds.get(key)

    def _once(
        self,
        user_id: int,
        key: str | None,
        at: datetime,
        *,
        verb: str,
        content: object,
        act: Callable[[Account, datetime], Answer],
    ) -> Answer:
        """Do what every verb does: roll the user forward, look the key up, act, and keep the answer."""
        instant = self.settle(user_id, at)
        user = self.users.get(user_id)
        if user is None or user.is_anonymous:
            return Answer(outcome="unknown_user")
        if instant is None:
            return Answer(outcome="demo_mode")
        account = self.account(user_id)
        if key in account.keys:
            old_verb, old_content, first = account.keys[key]
            if (old_verb, old_content) == (verb, content):
                return replace(first, replayed=True)
            return Answer(outcome="idempotency_conflict")
        answer = act(account, instant)
        if answer.outcome not in _DONE:
            return answer
        answer = replace(
            answer,
            recorded_at=instant,
            balance=account.balance,
            held=account.held(instant),
            available=account.available(instant),
            next_reset_at=account.next_reset_at,
        )
        if key is not None:
            account.keys[key] = verb, content, answer
        return answer


_DONE = {"granted", "scheduled", "adjusted", "refunded", "voided", "held", "changed"}
