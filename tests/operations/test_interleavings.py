"""Verbs that meet, in every order of their statements: the outcomes and books are those of one after another.

Each session begins a transaction, asks, and commits. Whatever the order, what they are answered and what stands in the
books must be what the model says of the same verbs in some order without overlap; nobody ends in a deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count, permutations
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from tests.auditor import faults
from tests.model import ModelLedger, ModelUsage, ModelUser
from tests.operations.ledgers import connect, rows
from tests.operations.raw_charges import RawCharge, call
from tests.operations.stepping import orders, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from groat_server.database import Address
    from tests.operations.stepping import Stage

JOINED = datetime(2031, 1, 31, 12, tzinfo=UTC)
RESET = datetime(2031, 2, 28, 12, tzinfo=UTC)
BEFORE, AFTER = RESET - timedelta(microseconds=1), RESET + timedelta(hours=1)
ALLOWANCE = Decimal(10)
HELD = Decimal(6)
MINUTE = timedelta(minutes=1)

Said: TypeAlias = tuple[str | None, Decimal | None]
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Verb:
    """What a session asks, as SQL of the user, the hold and the event that there are, and as the model is asked it."""

    sql: Callable[[int, int, int], str]
    model: Callable[[ModelLedger, int], Said]


def charge(key: str, credits_: int, at: datetime, *, enforced: bool = False, captures: bool = False) -> Verb:
    """Charge so many credits."""
    amount = Decimal(credits_)

    def text(user_id: int, hold_id: int, _: int) -> str:
        raw = RawCharge(
            user_ids=user_id,
            keys=key,
            credits=str(amount),
            costs=str(amount / 10),
            enforced=enforced,
            holds=hold_id if captures else None,
        )
        return call([raw], columns="outcome, balance", at=at)

    def modelled(ledger: ModelLedger, user_id: int) -> Said:
        usage = ModelUsage(
            user_id=user_id,
            key=key,
            credits=amount,
            content=("unit", amount),
            enforce=enforced,
            hold="hold" if captures else None,
        )
        (answer,) = ledger.charge([usage], at)
        return answer.outcome, answer.balance

    return Verb(text, modelled)


def verb(name: str, arguments: str, method: str, at: datetime, **details: Any) -> Verb:
    """Ask any other verb; `arguments` may name the user, the hold and the event."""

    def text(user_id: int, hold_id: int, event_id: int) -> str:
        filled = arguments.format(user=user_id, hold=hold_id, event=event_id)
        return f"SELECT outcome, balance FROM {name}_at('{at}', {filled})"  # noqa: S608 - a test's own text

    def modelled(ledger: ModelLedger, user_id: int) -> Said:
        answer = getattr(ledger, method)(user_id, at=at, **details)
        return answer.outcome, answer.balance

    return Verb(text, modelled)


def _swept(ledger: ModelLedger, at: datetime) -> Said:
    ledger.sweep(at)
    return None, None


def _sweep(at: datetime) -> Verb:
    """Let the sweep come by: it passes over balances and holds that somebody has locked."""
    return Verb(
        lambda *_: f"SELECT NULL, NULL FROM (SELECT sweep_due_at('{at}', 10), sweep_holds_at('{at}', 10)) AS swept",  # noqa: S608
        lambda ledger, _: _swept(ledger, at),
    )


def _reset(at: datetime) -> Verb:
    """Look at a balance after its reset."""
    return Verb(
        lambda user_id, *_: f"SELECT NULL, NULL FROM settle_account_at('{at}', {user_id})",  # noqa: S608
        lambda ledger, user_id: _settled(ledger, user_id, at),
    )


def _settled(ledger: ModelLedger, user_id: int, at: datetime) -> Said:
    ledger.settle(user_id, at)
    return None, None


CAPTURE = charge("capture", 7, AFTER, captures=True)
RELEASE = verb("release_hold", "{user}, {hold}", "release_hold", BEFORE, hold_key="hold")
VOID = verb("void_event", "{user}, 'void', {event}, 'because', 'me'", "void", BEFORE, key="void", event_key="use")
REFUND = verb(
    "refund_event", "{user}, 'refund', {event}, 2, 'because', 'me'", "refund", BEFORE,
    key="refund", event_key="use", amount=Decimal(2),
)  # fmt: skip
REFUND_ALL = verb(
    "refund_event", "{user}, 'refund all', {event}, NULL, 'because', 'me'", "refund", AFTER,
    key="refund all", event_key="use", amount=None,
)  # fmt: skip
GRANT = verb(
    "grant_credits", "{user}, 'grant', 'purchase', 5, NULL, NULL, NULL, NULL, 'because', 'me'", "grant", BEFORE,
    key="grant", kind="purchase", amount=Decimal(5),
)  # fmt: skip
SAME_GRANT = verb(
    "grant_credits", "{user}, 'capture', 'purchase', 5, NULL, NULL, NULL, NULL, 'because', 'me'", "grant", BEFORE,
    key="capture", kind="purchase", amount=Decimal(5),
)  # fmt: skip
HOLD = verb(
    "place_hold", "{user}, 'other hold', 3, 60, 'chat', NULL, NULL, '{{}}'", "place_hold", BEFORE,
    key="other hold", amount=Decimal(3), ttl=MINUTE,
)  # fmt: skip

MEETINGS = {
    "charge, charge, reset": [charge("a", 3, BEFORE, enforced=True), charge("b", 4, AFTER), _reset(AFTER)],
    "the same charge twice, reset": [charge("a", 3, BEFORE), charge("a", 3, BEFORE), _reset(RESET)],
    "charge, charge, sweep": [charge("a", 3, BEFORE), charge("b", 20, AFTER), _sweep(RESET)],
    "the floor": [charge(key, 3, BEFORE, enforced=True) for key in "abc"],
    "hold, capture, expiry": [HOLD, CAPTURE, _sweep(AFTER)],
    "capture, release, renewal": [
        CAPTURE, RELEASE, verb("renew_hold", "{user}, {hold}, 86400", "renew_hold", BEFORE, hold_key="hold",
                               ttl=timedelta(days=1)),
    ],
    "capture, capture under another key": [CAPTURE, charge("another", 7, BEFORE, captures=True)],
    "capture, a grant under its key, reset": [CAPTURE, SAME_GRANT, _reset(RESET)],
    "refund, void": [REFUND, VOID],
    "refund, void, reset": [REFUND, VOID, _reset(RESET)],
    "refund, refund of the rest, grant": [REFUND, REFUND_ALL, GRANT],
    "void, charge, grant": [VOID, charge("a", 12, BEFORE), GRANT],
    "void, void": [VOID, VOID],
}  # fmt: skip


@pytest.mark.parametrize("meeting", MEETINGS)
def test_verbs_that_meet_come_one_after_another(ledger_address: Address, meeting: str) -> None:
    """Taken out: the lock of settle_account_at (FOR NO KEY UPDATE), of charge_batch_at (the same)."""
    verbs = MEETINGS[meeting]
    allowed = [_one_after_another(verbs, order) for order in permutations(range(len(verbs)))]
    with connect(ledger_address) as connection, stage(ledger_address, len(verbs)) as on_stage:
        for order in orders([2] * len(verbs)):
            user_id, hold_id, event_id = _account(connection)
            scripts = [[f"BEGIN; {asked.sql(user_id, hold_id, event_id)}", "COMMIT"] for asked in verbs]
            found = _outcome(on_stage, scripts, order), _books(connection, user_id)
            assert found in allowed, (meeting, order)
        assert list(faults(connection)) == []
        assert on_stage.waits > 0


def _account(connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[int, int, int]:
    """Make a user with ten credits, of which four were used and six are held to the reset; ids of user, hold, event."""
    ((user_id,),) = rows(
        connection,
        "INSERT INTO users (email, opening_allowance, created_at) VALUES (%s, %s, %s) RETURNING id",
        [f"meeting-{next(_numbers)}@example.com", ALLOWANCE, JOINED],
    )
    used = RawCharge(user_ids=user_id, keys="use", credits="4", costs="0.4")
    ((event_id,),) = rows(connection, call([used], columns="event_id", at=JOINED))
    ((hold_id,),) = rows(
        connection,
        "SELECT hold_id FROM place_hold_at(%s, %s, 'hold', %s, 86400, 'chat', NULL, NULL, '{}')",
        [RESET - timedelta(days=1), user_id, HELD],
    )
    return user_id, hold_id, event_id


def _modelled() -> ModelLedger:
    ledger = ModelLedger()
    ledger.users[1] = ModelUser(JOINED, "UTC", ALLOWANCE)
    ledger.users[1].open(JOINED)
    ledger.charge([ModelUsage(user_id=1, key="use", credits=Decimal(4), content=("unit", Decimal(4)))], JOINED)
    ledger.place_hold(1, "hold", RESET - timedelta(days=1), amount=HELD, ttl=timedelta(days=1))
    return ledger


def _one_after_another(verbs: Sequence[Verb], order: Sequence[int]) -> tuple[list[Said], list[Any]]:
    ledger = _modelled()
    said = {place: verbs[place].model(ledger, 1) for place in order}
    ledger.settle(1, AFTER)
    account = ledger.account(1)
    states = sorted((hold.key, hold.state_at(AFTER)) for hold in account.holds.values())
    entries = [(entry.kind, entry.amount, entry.at) for entry in account.entries]
    books = [account.balance, account.consumed, account.voided, account.version, *states, *entries]
    return [said[place] for place in range(len(verbs))], books


def _outcome(on_stage: Stage, scripts: list[list[str]], order: Sequence[int]) -> list[Said]:
    return [(outcome, balance) for ((outcome, balance),) in on_stage.play(scripts, order)]


def _books(connection: psycopg.Connection[tuple[Any, ...]], user_id: int) -> list[Any]:
    """Return what is in a user's books once what is due has happened."""
    rows(connection, "SELECT settle_account_at(%s, %s)", [AFTER, user_id])
    (balance,) = rows(
        connection,
        "SELECT current_balance, total_consumed, total_voided, version FROM user_credit_balances WHERE user_id = %s",
        [user_id],
    )
    states = rows(
        connection,
        "SELECT idempotency_key, CASE WHEN state = 'open' AND expires_at <= %s THEN 'expired' ELSE state END"
        " FROM credit_holds WHERE user_id = %s ORDER BY 1",
        [AFTER, user_id],
    )
    entries = rows(
        connection,
        "SELECT kind, amount, recorded_at FROM credit_ledger_entries WHERE user_id = %s ORDER BY version",
        [user_id],
    )
    return [*balance, *states, *entries]
