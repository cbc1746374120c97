"""The function for a charge alone answers and writes what charge_batch does, whatever the state of the credits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.operations.account import RESET, TICK, SqlAccount, day
from tests.operations.ledgers import connect
from tests.operations.raw_charges import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from groat_server.database import Address

NOW = day(5)
_ROWS = "SELECT to_jsonb(e) - ARRAY['id', 'user_id', 'event_id', 'lot_id'] AS row FROM {} AS e WHERE user_id = %s"
_USAGE = "SELECT sum(events) AS events, sum(credits) AS credits, sum(api_cost) AS api_cost FROM {}"


@pytest.fixture
def connection(ledger_address: Address) -> Iterator[psycopg.Connection[Any]]:
    """Lend a connection to a ledger."""
    with connect(ledger_address) as connection:
        yield connection


def _charged_today(account: SqlAccount) -> None:
    account.charge("today", 1, NOW)


def _refunded(account: SqlAccount) -> None:
    _charged_today(account)
    event = account.charge("wrong", 2, NOW)["event_id"]
    account.rows("SELECT * FROM refund_event_at(%s, %s, 'refund', %s, 1, NULL, 'test')", NOW, account.user_id, event)


def _voided(account: SqlAccount) -> None:
    _charged_today(account)
    event = account.charge("key", 2, NOW)["event_id"]
    account.rows("SELECT * FROM void_event_at(%s, %s, 'void', %s, NULL, 'test')", NOW, account.user_id, event)


def _granted_under_the_key(account: SqlAccount) -> None:
    _charged_today(account)
    account.grant("key", 5, NOW)


def _holding(account: SqlAccount) -> None:
    _charged_today(account)
    account.hold("hold", 60, NOW)


def _holding_until_now(account: SqlAccount) -> None:
    _charged_today(account)
    account.hold("hold", 60, NOW - timedelta(minutes=15))


def _anonymised(account: SqlAccount) -> None:
    _charged_today(account)
    account.rows("SELECT anonymise_user_at(%s, %s, 'test')", NOW, account.user_id)


def _overdrawn(account: SqlAccount) -> None:
    _charged_today(account)
    account.charge("much", 200, NOW)


def _with_overdraft(account: SqlAccount) -> None:
    _charged_today(account)
    account.set_terms(NOW, overdraft=50)


def _charged_before_the_reset(account: SqlAccount) -> None:
    account.charge("before", 1, RESET - TICK)


def _charged(account: SqlAccount) -> None:
    _charged_today(account)
    account.charge("key", 3, NOW)


def _alerted(account: SqlAccount) -> None:
    _charged_today(account)
    account.rows("UPDATE ledger_settings SET alert_below = '{98}'")


SITUATIONS: dict[str, tuple[Callable[[SqlAccount], None], dict[str, Any]]] = {
    "the first of all": (lambda _: None, {}),
    "another of the day": (_charged_today, {}),
    "the first of the next day": (_charged_today, {"at": NOW + timedelta(days=1)}),
    "everything said": (
        _charged_today,
        {
            "models": "lamp", "providers": "sun", "inputs": 7, "outputs": 5, "cache_reads": 2, "cache_writes": 1,
            "reasonings": 3, "quantities": "2", "descriptions": "a use", "sessions": "s", "metadatas": '{"a": 1}',
        },
    ),
    "no cost": (_charged_today, {"credits": 0, "costs": None, "sources": "unpriced"}),
    "enforced, enough": (_charged_today, {"credits": 99, "enforced": True}),
    "enforced, too much": (_charged_today, {"credits": 100, "enforced": True}),
    "enforced, free, overdrawn": (_overdrawn, {"credits": 0, "enforced": True}),
    "recorded, overdrawn": (_overdrawn, {}),
    "enforced, on credit": (_with_overdraft, {"credits": 149, "enforced": True}),
    "enforced, beyond credit": (_with_overdraft, {"credits": 150, "enforced": True}),
    "enforced, the rest is held": (_holding, {"credits": 40, "enforced": True}),
    "enforced, the hold has ended": (_holding_until_now, {"credits": 99, "enforced": True}),
    "recorded beside a hold": (_holding, {"credits": 40}),
    "a repeat": (_charged, {}),
    "the key with another content": (_charged, {"inputs": 9}),
    "the key of a voided event": (_voided, {"credits": 2}),
    "the key of a grant": (_granted_under_the_key, {}),
    "after a refund": (_refunded, {}),
    "anonymised": (_anonymised, {}),
    "at the reset": (_charged_before_the_reset, {"at": RESET}),
    "with a time": (_charged_today, {"occurred": NOW - timedelta(days=2)}),
    "too long ago": (_charged_today, {"occurred": NOW - timedelta(days=36)}),
    "refused by its price": (_charged_today, {"refusals": "unknown_model"}),
    "alerts are wanted": (_alerted, {"credits": 3}),
    "priced until now": (_charged_today, {"priced_until": NOW}),
    "priced from now": (_charged_today, {"priced_from": NOW}),
    "priced from later": (_charged_today, {"priced_from": NOW + TICK}),
}  # fmt: skip


def _history(account: SqlAccount) -> object:
    """Return all that is written of a user, but for ids, and what the roll-ups of everybody come to."""
    return (
        [
            [row["row"] for row in account.rows(_ROWS.format(table) + " ORDER BY version", account.user_id)]
            for table in ("credit_usage_events", "voided_credit_usage_events", "credit_ledger_entries")
        ],
        account.rows(_ROWS.format("user_credit_balances"), account.user_id),
        account.rows(_ROWS.format("user_daily") + " ORDER BY day", account.user_id),
        account.rows("SELECT threshold, balance_after FROM credit_alerts WHERE user_id = %s", account.user_id),
    )


@pytest.mark.parametrize("situation", SITUATIONS)
def test_one_alone_is_charged_as_in_a_batch(connection: psycopg.Connection[Any], situation: str) -> None:
    """Taken out, one at a time: each condition of charge_one_at (mutation/sql.toml, `one-alone-…`)."""
    prepare, changes = SITUATIONS[situation]
    options = {name: changes[name] for name in ("priced_from", "priced_until") if name in changes}
    said = {"credits": 3, "at": NOW, **changes}
    fields = {name: value for name, value in said.items() if name not in {"credits", "at", *options}}
    answers, histories, usage = [], [], []
    for alone in (True, False):
        account = SqlAccount.open(connection)
        prepare(account)
        before = [account.rows(_USAGE.format(table))[0] for table in ("usage_hourly", "usage_daily")]
        use = replace(account.use("key", said["credits"]), **fields)
        (answer,) = account.charge_all([use], said["at"], alone=alone, **options)
        after = [account.rows(_USAGE.format(table))[0] for table in ("usage_hourly", "usage_daily")]
        answers.append({name: value for name, value in answer.items() if name != "event_id"})
        histories.append(_history(account))
        usage.append([
            {name: (row[name] or 0) - (old[name] or 0) for name in row}
            for old, row in zip(before, after, strict=True)
        ])  # fmt: skip
    assert answers[0] == answers[1]
    assert histories[0] == histories[1]
    assert usage[0] == usage[1]


def test_a_price_book_that_has_changed_is_noticed(connection: psycopg.Connection[Any]) -> None:
    """Taken out: `version = book_version`."""
    account = SqlAccount.open(connection)
    _charged_today(account)
    version = account.row("SELECT version FROM price_book")["version"]
    account.rows("UPDATE price_book SET version = version + 1")
    statement = call([account.use("key", 1)], columns="outcome, instant", at=NOW, alone=True)
    answer = account.row(statement.replace("(SELECT version FROM price_book)", str(version)))
    assert (answer["outcome"], answer["instant"]) == ("stale_prices", NOW)
    assert account.credits == 99


def test_what_is_usual_is_not_left_to_the_batch(connection: psycopg.Connection[Any]) -> None:
    """Taken out: the fast way, so that charge_batch_at is called after all."""
    account = SqlAccount.open(connection)
    _refunded(account)
    with connection.transaction(force_rollback=True):
        connection.execute(
            "DO $$ BEGIN EXECUTE (SELECT 'DROP FUNCTION ' || oid::regprocedure FROM pg_proc"
            " WHERE proname = 'charge_batch_at'); END $$"
        )
        answers = account.charge_all([account.use("key", 2, enforced=True)], NOW, alone=True)
    assert [answer["outcome"] for answer in answers] == ["recorded"]
