"""A ledger and its model, side by side: each verb is done by both, and must be answered the same."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg.rows import dict_row

from tests.model import ModelLedger, ModelUsage, ModelUser
from tests.operations.ledgers import rows
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import psycopg

    from tests.model import Account, Answer, Piece

Row: TypeAlias = dict[str, Any]

UNKNOWN_ID = 10**9
ANYTHING = Decimal("0.000000000001")

# Each verb's function at an instant, and the method of the model that does the same.
_CALLS = {
    "grant": "grant_credits_at(%(at)s, %(user_id)s, %(key)s, %(kind)s, %(amount)s, %(priority)s, %(cost_basis)s,"
    " %(starts_at)s, %(expires_at)s, 'because', 'the model')",
    "adjust": "adjust_credits_at(%(at)s, %(user_id)s, %(key)s, %(amount)s, %(expires_at)s, 'because', 'the model')",
    "refund": "refund_event_at(%(at)s, %(user_id)s, %(key)s, %(event)s, %(amount)s, 'because', 'the model')",
    "void": "void_event_at(%(at)s, %(user_id)s, %(key)s, %(event)s, 'because', 'the model')",
    "place_hold": "place_hold_at(%(at)s, %(user_id)s, %(key)s, %(amount)s, %(ttl)s, 'chat', NULL, NULL,"
    " jsonb_build_object('amount', %(amount)s::text, 'ttl', %(ttl)s::text))",
    "renew_hold": "renew_hold_at(%(at)s, %(user_id)s, %(hold)s, %(ttl)s)",
    "release_hold": "release_hold_at(%(at)s, %(user_id)s, %(hold)s)",
    "set_terms": "set_terms_at(%(at)s, %(user_id)s, %(key)s, %(allowance)s, %(now)s, %(overdraft)s, %(rollover_cap)s,"
    " 'the model')",
}

# Everything that the model has an opinion of, in one snapshot.
_BOOKS = """
    SELECT 'balance', user_id, version, ARRAY[current_balance, monthly_allowance, overdraft_limit, rollover_cap,
        current_month_consumed, total_consumed, total_voided, allocated],
        ARRAY[period_start, next_reset_at, last_recorded_at, next_boundary_at], NULL::text[]
    FROM user_credit_balances WHERE user_id = ANY (%(users)s)
    UNION ALL
    SELECT 'entry', user_id, version, ARRAY[amount, balance_after], ARRAY[recorded_at],
        ARRAY[kind, lot_id::text, event_id::text]
    FROM credit_ledger_entries WHERE user_id = ANY (%(users)s)
    UNION ALL
    SELECT 'event', user_id, version, ARRAY[credits_charged], ARRAY[recorded_at],
        ARRAY[idempotency_key, hold_id::text, NULL]
    FROM credit_usage_events WHERE user_id = ANY (%(users)s)
    UNION ALL
    SELECT 'event', user_id, version, ARRAY[credits_charged], ARRAY[recorded_at],
        ARRAY[idempotency_key, hold_id::text, void_version::text]
    FROM voided_credit_usage_events WHERE user_id = ANY (%(users)s)
    UNION ALL
    SELECT 'hold', user_id, id, ARRAY[amount], ARRAY[created_at, expires_at], ARRAY[idempotency_key, state]
    FROM credit_holds WHERE user_id = ANY (%(users)s)
    UNION ALL
    SELECT 'lot', user_id, id, ARRAY[amount, remaining, priority, cost_basis], ARRAY[starts_at, expires_at],
        ARRAY[kind, version::text]
    FROM credit_lots WHERE user_id = ANY (%(users)s)
    ORDER BY 1, 2, 3
"""
_STRETCHES = """
    SELECT user_id, first_credit, amount, lot_id, NULL::bigint FROM credit_lot_draws WHERE user_id = ANY (%(users)s)
    UNION ALL
    SELECT user_id, first_credit, amount, drawn_from, version FROM credit_lot_returns WHERE user_id = ANY (%(users)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A verb as somebody asked for it; events and holds are named by their keys."""

    verb: str
    user_id: int
    key: str | None
    details: Mapping[str, Any]


@dataclass(slots=True)
class Twins:
    """The ledger behind `connection` and a model of it that does the same."""

    connection: psycopg.Connection[tuple[Any, ...]]
    model: ModelLedger = field(default_factory=ModelLedger)
    ids: list[int] = field(default_factory=list)
    _turn: bool = False
    _events: dict[tuple[int, str], int] = field(default_factory=dict)
    _holds: dict[tuple[int, str], int] = field(default_factory=dict)
    _answers: dict[tuple[int, str | None], Row] = field(default_factory=dict)

    def add_user(self, joined: datetime, zone: str, allowance: Decimal, *, demo_mode: bool = False) -> int:
        """Let somebody join."""
        statement = (
            "INSERT INTO users (email, time_zone, opening_allowance, created_at, demo_mode)"
            " VALUES (gen_random_uuid() || '@example.com', %s, %s, %s, %s) RETURNING id"
        )
        ((user_id,),) = rows(self.connection, statement, [zone, allowance, joined, demo_mode])
        self.ids.append(user_id)
        user = self.model.users[user_id] = ModelUser(joined, zone, allowance)
        if not demo_mode:
            user.open(joined)
        return int(user_id)

    def charge(self, usages: Sequence[ModelUsage], at: datetime, *, settled: bool = False) -> list[Answer]:
        """Charge a batch; every other one of a single charge by the function for one."""
        raw = [self._raw(usage) for usage in usages]
        self._turn = not self._turn
        alone = len(raw) == 1 and not settled and self._turn
        with self.connection.cursor(row_factory=dict_row) as cursor:
            found = cursor.execute(call(raw, columns="*", at=at, settled=settled, alone=alone).encode()).fetchall()
        answers = self.model.charge(usages, at, settled=settled)
        for usage, row, answer in zip(usages, found, answers, strict=True):
            row |= {"replayed": answer.replayed, "amount": row["credits_charged"], "recorded_at": row["instant"]}
            self._compare(usage, row, answer)
            if answer.outcome == "recorded":
                self._events[usage.user_id, usage.key] = row["event_id"]
        return answers

    def do(self, asked: Asked, at: datetime) -> Answer:
        """Do any other verb."""
        details = dict(asked.details)
        method = getattr(self.model, asked.verb)
        arguments = {"at": at, "user_id": asked.user_id, "key": asked.key, **details}
        if "event_key" in details:
            arguments["event"] = self._events.get((asked.user_id, details["event_key"]), UNKNOWN_ID)
        if "hold_key" in details:
            arguments["hold"] = self._holds.get((asked.user_id, details["hold_key"]), UNKNOWN_ID)
        if "ttl" in details:
            arguments["ttl"] = int(details["ttl"].total_seconds())
        with self.connection.cursor(row_factory=dict_row) as cursor:
            (row,) = cursor.execute(f"SELECT * FROM {_CALLS[asked.verb]}".encode(), arguments).fetchall()  # noqa: S608
        key = {} if "hold_key" in details else {"key": asked.key}
        answer: Answer = method(asked.user_id, at=at, **key, **details)
        self._compare(asked, row, answer)
        if answer.replayed:
            assert row == self._answers[asked.user_id, asked.key] | {"replayed": True}, asked
        elif asked.key is not None and asked.key in self._keys(asked.user_id):
            self._answers.setdefault((asked.user_id, asked.key), row)
        if answer.outcome == "held" and not answer.replayed:
            self._holds[asked.user_id, str(asked.key)] = row["hold_id"]
        return answer

    def anonymise(self, user_id: int, at: datetime) -> None:
        """Take out who somebody was."""
        statement = "SELECT anonymise_user_at(%s, %s, 'the model')"
        assert rows(self.connection, statement, [at, user_id]) == [("anonymised",)]
        self.model.anonymise(user_id, at)

    def settle(self, user_id: int, at: datetime) -> None:
        """Look at a balance."""
        settled = rows(self.connection, "SELECT settle_account_at(%s, %s)", [at, user_id])
        assert settled == [(self.model.settle(user_id, at),)]

    def sweep(self, at: datetime) -> None:
        """Let the sweep come by."""
        while rows(self.connection, "SELECT sweep_due_at(%s, 3)", [at]) == [(3,)]:
            pass
        while rows(self.connection, "SELECT sweep_holds_at(%s, 3)", [at]) == [(3,)]:
            pass
        self.model.sweep(at)

    def compare_books(self, at: datetime) -> None:
        """Compare every row that the model has an opinion of, at an instant at which nothing is booked later."""
        found: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for part, *row in rows(self.connection, _BOOKS, {"users": self.ids}):
            found[part].append(tuple(row))
        places = _places(found["lot"])
        accounts = [(id_, account) for id_ in self.ids if (account := self.model.users[id_].account)]
        accounts.sort(key=lambda item: item[0])
        assert [_balance(row) for row in found["balance"]] == [(id_, *_modelled(account)) for id_, account in accounts]
        assert [
            (user_id, version, *amounts, *times, kind, lot_id and places[user_id, int(lot_id)], event_id)
            for user_id, version, amounts, times, (kind, lot_id, event_id) in found["entry"]
        ] == [
            (id_, entry.version, entry.amount, entry.balance_after, entry.at, entry.kind, entry.lot,
             entry.event and str(self._events[id_, entry.event]))
            for id_, account in accounts for entry in account.entries
        ]  # fmt: skip
        assert [(row[0], row[1], *row[2], *row[3], *row[4]) for row in found["event"]] == [
            (id_, event.version, event.credits, event.recorded_at, event.key,
             event.hold and str(self._holds[id_, event.hold.key]), event.voided_as and str(event.voided_as))
            for id_, account in accounts
            for event in sorted(account.events.values(), key=lambda event: event.version)
        ]  # fmt: skip
        assert [
            (user_id, id_, amount, *times, key, "expired" if state == "open" and times[1] <= at else state)
            for user_id, id_, (amount,), times, (key, state) in found["hold"]
        ] == [
            (id_, self._holds[id_, hold.key], hold.amount, hold.created_at, hold.expires_at, hold.key,
             hold.state_at(at))
            for id_, account in accounts for hold in account.holds.values()
        ]  # fmt: skip
        for balance in found["balance"]:
            self._compare_lots(balance, [lot for lot in found["lot"] if lot[0] == balance[0]])

    def compare_draws(self, at: datetime) -> None:
        """Have all that was consumed allocated, then compare which lot paid for what, credit by credit."""
        for number, user_id in enumerate(self.ids):
            details = {"kind": "promotion", "amount": ANYTHING, "priority": 100, "cost_basis": None}
            details |= {"starts_at": None, "expires_at": None}
            self.do(Asked(verb="grant", user_id=user_id, key=f"all is allocated {number}", details=details), at)
        self.compare_books(at)
        places = {
            (user_id, id_): number
            for user_id, id_, number in rows(
                self.connection,
                "SELECT user_id, id, row_number() OVER (PARTITION BY user_id ORDER BY id) - 1 FROM credit_lots",
            )
        }
        found: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for user_id, first, amount, lot_id, version in rows(self.connection, _STRETCHES, {"users": self.ids}):
            place = None if lot_id is None else places[user_id, lot_id]
            found[user_id].append((first, first + amount, place, version is not None))
        for user_id in self.ids:
            user = self.model.users[user_id]
            if (account := user.account) and not user.is_anonymous:  # one who is gets nothing, so may have some waiting
                assert list(_stretches(found[user_id])) == list(_pieces(account.lots.consumed)), user_id

    def _compare_lots(self, row: tuple[Any, ...], lots: list[tuple[Any, ...]]) -> None:
        """Compare a user's lots, which say what is left only where nothing is waiting to be allocated."""
        user_id, _, (*_, allocated), (*_, next_boundary_at), _ = row
        account = self.model.account(user_id)
        consumed = sum((piece.amount for pieces in account.lots.consumed for piece in pieces), Decimal(0))
        assert next_boundary_at <= account.next_boundary()
        assert account.lots.remaining() - account.lots.debt() == account.balance
        if allocated == consumed:
            assert [(*amounts, *times, kind, version is not None) for *_, amounts, times, (kind, version) in lots] == [
                (lot.amount, lot.remaining, lot.priority, lot.cost_basis, lot.starts_at, lot.expires_at, lot.kind,
                 lot.is_booked)
                for lot in account.lots.lots
            ]  # fmt: skip

    def _compare(self, asked: object, row: Row, answer: Answer) -> None:
        said = answer.said()
        assert {name: row[name] for name in said} == said, asked

    def _keys(self, user_id: int) -> Mapping[str, object]:
        user = self.model.users.get(user_id)
        return user.account.keys if user and user.account else {}

    def _raw(self, usage: ModelUsage) -> RawCharge:
        """Make a charge of it; its content is a kind and the credits."""
        kind, credits_ = usage.content
        amount, cost = format(credits_, "f"), format(credits_ / 10, "f")
        raw = RawCharge(
            user_ids=usage.user_id,
            keys=usage.key,
            credits=amount,
            costs=cost,
            enforced=usage.enforce,
            refusals=usage.refusal,
            holds=None if usage.hold is None else self._holds.get((usage.user_id, usage.hold), UNKNOWN_ID),
        )
        match kind:
            case "caller":
                return replace(raw, given_costs=cost, sources="caller")
            case "unknown":
                return replace(raw, quantities=amount, models="no-such-model")
        return replace(raw, quantities=amount)


def forget(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Empty the ledger, past all triggers, so that each course of events begins with nothing."""
    tables = rows(
        connection,
        "SELECT table_name FROM information_schema.columns WHERE table_schema = current_schema()"
        " AND (column_name = 'user_id' OR table_name LIKE 'usage_%%' AND column_name = 'slot')"
        " AND table_name IN (SELECT tablename FROM pg_tables)",
    )
    statements = "; ".join(f"DELETE FROM {table}" for (table,) in tables)  # noqa: S608 - of our own tables
    with connection.transaction():
        rows(connection, "SET LOCAL session_replication_role = replica")
        connection.execute(f"{statements}; DELETE FROM users".encode())  # noqa: S608 - the same


def _places(lots: list[tuple[Any, ...]]) -> dict[tuple[int, int], int]:
    """Give each user's lots numbers in order of coming, as the model does."""
    numbers: defaultdict[int, int] = defaultdict(int)
    places = {}
    for user_id, lot_id, *_ in lots:
        places[user_id, lot_id] = numbers[user_id]
        numbers[user_id] += 1
    return places


def _balance(row: tuple[Any, ...]) -> tuple[Any, ...]:
    user_id, version, amounts, times, _ = row
    return user_id, version, *amounts[:-1], *times[:-1]


def _modelled(account: Account) -> tuple[Any, ...]:
    return (
        account.version, account.balance, account.allowance, account.overdraft, account.rollover_cap, account.month,
        account.consumed, account.voided, account.period_start, account.next_reset_at, account.last_booking,
    )  # fmt: skip


Stretch: TypeAlias = tuple[Decimal, Decimal, int | None, bool]


def _stretches(found: list[tuple[Any, ...]]) -> list[Stretch]:
    """Say of each consumed credit which lot paid and whether it was given back; neighbours alike are one stretch.

    What was given back lies in a row of its own, over the draw that it undoes; where debt was undone there is no draw.
    """
    edges = sorted({edge for first, last, _, _ in found for edge in (first, last)})
    cut: list[Stretch] = []
    for first, last in pairwise(edges):
        over = [(place, returned) for start, end, place, returned in found if start <= first and last <= end]
        draws, returns = ([place for place, returned in over if returned is which] for which in (False, True))
        assert len(draws) <= 1
        assert len(returns) <= 1
        assert not draws or not returns or draws == returns
        if over:
            cut.append((first, last, over[0][0], bool(returns)))
    return _joined(cut)


def _pieces(consumed: list[list[Piece]]) -> list[Stretch]:
    first = Decimal(0)
    cut: list[Stretch] = []
    for piece in (piece for pieces in consumed for piece in pieces):
        last = first + piece.amount
        cut.append((first, last, None if piece.lot is None else piece.lot.number, piece.is_returned))
        first = last
    return _joined(cut)


def _joined(stretches: list[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for stretch in stretches:
        if joined and joined[-1][1:] == (stretch[0], *stretch[2:]):
            joined[-1] = (joined[-1][0], *stretch[1:])
        else:
            joined.append(stretch)
    return joined
