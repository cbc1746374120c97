"""An anonymised user is nobody: no trace of who it was is left, and no figure moves."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from groat_server.core.outcomes import OperationOutcome, Outcome
from groat_server.errors import Conflict, NotFound, Unauthorized
from groat_server.operations.audit import list_acts
from groat_server.operations.corrections import Refund, Void, refund_event, void_event
from groat_server.operations.grants import Adjustment, Grant, adjust_credits, grant_credits
from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.reports import REPORTS, run_report
from groat_server.operations.tokens import authenticate, create_token
from groat_server.operations.usage import charge
from groat_server.operations.users import anonymise_user, create_user, find_users, show_user, update_user
from tests.operations.ledgers import ask, connect, new_user, outcomes, rows, use
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.embedded import Server
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

EMAIL, NAME, OWN_ID = "canary@example.com", "Canary Bird", "canary/4711"
SECRET = "canary"
"""Stands in all that is said of the user."""
KEYS = (f"order of {EMAIL.upper()}", f"{OWN_ID}:7", f"for {NAME}")
# Columns that say who somebody is, or what was said of them; everything else must stay as it is.
PERSONAL = {"email", "full_name", "external_id", "description", "session_id", "metadata", "idempotency_key"}


async def _somebody(ledger: Ledger) -> int:
    """Make a user about whom everything that can be said is said, and who has every kind of row."""
    user = await create_user(ledger, EMAIL, full_name=NAME, external_id=OWN_ID, is_admin=True)
    said: dict[str, Any] = {"description": SECRET, "session_id": SECRET, "metadata": {SECRET: [SECRET]}}
    uses = [use(user.id, key, 5, **said) for key in (*KEYS, "plain")]
    receipts = await charge(ledger, uses)
    events = [receipt.booking.event_id for receipt in receipts if receipt.booking]
    told: dict[str, Any] = {"user_id": user.id, "reason": SECRET, "actor": "test"}
    await void_event(ledger, Void(**told, key=f"{EMAIL} void", event_id=events[0]))
    await refund_event(ledger, Refund(**told, key="refund", event_id=events[1], amount=Decimal(2)))
    await adjust_credits(ledger, Adjustment(**told, key="adjust", amount=Decimal(-3)))
    later = datetime.now(UTC) + timedelta(days=3)
    for key, starts_at in ((f"{OWN_ID} bought", None), ("scheduled", later)):
        await grant_credits(
            ledger,
            Grant(**told, key=key, kind="purchase", amount=Decimal(50), cost_basis=Decimal("0.1"), starts_at=starts_at),
        )
    for key in ("open", f"{EMAIL} open"):
        await place_hold(
            ledger,
            NewHold(user_id=user.id, idempotency_key=key, seconds=900, amount=Decimal(4), description=SECRET),
        )
    await create_token(ledger, name=SECRET, user_id=user.id)
    return user.id


def _dump(server: Server, address: Address) -> str:
    """Return all that makes the database, as SQL."""
    command = [str(server.binaries / "pg_dump"), "--no-owner", address.url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _figures(address: Address) -> dict[str, list[Any]]:
    """Return every row of every table that credits are in, but for what may say who somebody is."""
    tables = {
        "credit_usage_events": "id",
        "voided_credit_usage_events": "id",
        "credit_ledger_entries": "id",
        "credit_lots": "id",
        "credit_lot_draws": "id",
        "credit_lot_returns": "id",
        "user_credit_balances": "user_id",
    }
    said = sorted(PERSONAL | {"reason", "void_reason", "last_recorded_at"})
    return {
        table: ask(address, f"SELECT to_jsonb(t) - %s::text[] FROM {table} AS t ORDER BY {key}", [said])  # noqa: S608 - ours
        for table, key in tables.items()
    }


async def _reports(ledger: Ledger, user_id: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    # Why something was done is taken out too; what was held is available, and nobody is an administrator any more.
    untold = PERSONAL | {"reason", "void_reason", "available", "held", "is_admin", "anonymised_at", "name"}
    for name, report in REPORTS.items():
        known = {"user": user_id, "priced": "unit", "kind": "action"}
        given = {each.name: known[each.name] for each in report.parameters if each.name in known}
        rows_ = [asdict(row) for row in await run_report(ledger, name, **given)]
        found[name] = [{key: value for key, value in row.items() if key not in untold} for row in rows_]
    return found


async def test_no_trace_is_left_and_no_figure_moves(ledger: Ledger, server: Server) -> None:
    """Taken out, one by one: each UPDATE of anonymise_user_at; the dump then has the canary."""
    address = ledger.database.address
    user_id = await _somebody(ledger)
    boss = await create_user(ledger, "boss@example.com", is_admin=True)
    await charge(ledger, [use(boss.id, f"{EMAIL} of another's", 1, description="stays")])
    assert _dump(server, address).lower().count(SECRET) > 20
    figures = _figures(address)
    for row in figures["user_credit_balances"]:
        assert row
    before = await _reports(ledger, user_id)

    await anonymise_user(ledger, user_id, actor="test")
    dump = _dump(server, address).lower()
    assert [line for line in dump.splitlines() if SECRET in line and "another's" not in line] == []
    assert NAME.lower() not in dump
    assert "stays" in dump

    assert _figures(address) == figures
    after = await _reports(ledger, user_id)
    moved = {name for name in REPORTS if after[name] != before[name]}
    # Its open holds are released, so that more is available; it needs no forecast and worries nobody; tokens end, and
    # the act is logged.
    assert moved <= {"user-holds", "holds", "runway", "anomalies", "tokens", "audit-log"}, {
        name: (before[name], after[name]) for name in moved
    }


async def test_who_it_was_is_free_again_and_what_it_is_now_is_nobody(ledger: Ledger) -> None:
    user_id = await _somebody(ledger)
    boss = await create_user(ledger, "boss@example.com", is_admin=True)
    token = await create_token(ledger, name="another", user_id=user_id)
    await anonymise_user(ledger, user_id, actor="token:9")
    user = await show_user(ledger, user_id)
    assert (user.full_name, user.external_id, user.is_admin) == (None, None, False)
    assert user.held == 0
    assert user.email.endswith(".invalid")
    assert user.anonymised_at is not None
    assert await find_users(ledger, [EMAIL]) == [None]
    with pytest.raises(Unauthorized):
        await authenticate(ledger, token.token)
    with pytest.raises(NotFound):
        await create_token(ledger, name="again", user_id=user_id)
    with pytest.raises(NotFound):
        await update_user(ledger, user_id, full_name=NAME)
    assert (
        outcomes(await charge(ledger, [use(user_id, "more"), use(user_id, "plain", 5)])) == [Outcome.UNKNOWN_USER] * 2
    )
    granted = await grant_credits(
        ledger, Grant(user_id=user_id, key="more", kind="promotion", amount=Decimal(1), actor="test")
    )
    assert granted.outcome == OperationOutcome.UNKNOWN_USER
    again = await create_user(ledger, EMAIL, full_name=NAME, external_id=OWN_ID)
    assert again.id not in {user_id, boss.id}


async def test_keys_that_name_nobody_stay_and_those_that_do_are_digests(ledger: Ledger) -> None:
    user_id = await _somebody(ledger)
    await create_user(ledger, "boss@example.com", is_admin=True)
    await anonymise_user(ledger, user_id, actor="test")
    events = "SELECT idempotency_key FROM credit_usage_events ORDER BY id"
    keys = [key for (key,) in ask(ledger.database.address, events)]
    assert [key.partition(":")[0] for key in keys] == ["sha256", "sha256", "plain"]
    assert ask(ledger.database.address, "SELECT encode(sha256(%s), 'hex')", [KEYS[1].encode()]) == [(keys[0][7:],)]
    operations = "SELECT idempotency_key FROM credit_operations"
    found = [key for (key,) in ask(ledger.database.address, operations)]
    assert {key for key in found if not key.startswith("sha256:")} == {"refund", "adjust", "scheduled", "open"}
    assert len(found) == 7


async def test_it_is_told_once_in_the_same_transaction_and_a_repeat_does_nothing(ledger: Ledger) -> None:
    user_id = await _somebody(ledger)
    await create_user(ledger, "boss@example.com", is_admin=True)
    await anonymise_user(ledger, user_id, actor="token:9")
    acts = await list_acts(ledger, user_id=user_id, limit=500)
    assert (acts[0].act, acts[0].actor) == ("anonymise", "token:9")
    assert {act.actor for act in acts if act.act in {"user_changed", "token_revoked"}} == {"token:9"}
    assert {"grant", "refund", "void", "adjustment"} <= {act.act for act in acts}
    assert not [act for act in acts if "reason" in act.details]
    email = (await show_user(ledger, user_id)).email
    await anonymise_user(ledger, user_id, actor="token:9")
    assert (await show_user(ledger, user_id)).email == email
    assert await list_acts(ledger, user_id=user_id, limit=500) == acts
    with pytest.raises(NotFound):
        await anonymise_user(ledger, 10**9, actor="token:9")


async def test_a_user_in_demo_mode_can_be_anonymised(ledger: Ledger) -> None:
    user_id = await new_user(ledger, demo_mode=True)
    await anonymise_user(ledger, user_id, actor="test")
    assert (await show_user(ledger, user_id)).email.endswith(".invalid")
    assert outcomes(await charge(ledger, [use(user_id, "more")])) == [Outcome.UNKNOWN_USER]


async def test_a_charge_that_is_under_way_leaves_no_trace(ledger: Ledger, server: Server) -> None:
    """Taken out: settle_account_at, which locks the balance; then the charge's row is not seen, and stays as it is."""
    address = ledger.database.address
    user_id = await new_user(ledger)
    await create_user(ledger, "boss@example.com", is_admin=True)
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'groat'"
    with connect(address) as other, other.transaction():
        rows(other, call([RawCharge(user_ids=user_id, keys="late", descriptions=SECRET)]))
        anonymised = asyncio.create_task(anonymise_user(ledger, user_id, actor="test"))
        while not anonymised.done() and not ask(address, waiting):  # noqa: ASYNC110 - the database tells nobody
            await asyncio.sleep(0.001)
        assert not anonymised.done()
    await anonymised
    assert SECRET not in _dump(server, address)


# --- history is for ever ----------------------------------------------------------------------------------------------

TABLES = {
    "credit_usage_events": "credits_charged = credits_charged + 1",
    "voided_credit_usage_events": "credits_charged = 0",
    "credit_ledger_entries": "amount = amount + 1",
    "credit_operations": "answer = '{}'",
    "credit_alerts": "threshold = 0",
    "credit_lots": "remaining = 0",
    "credit_lot_draws": "amount = 1",
    "credit_lot_returns": "amount = 1",
    "price_versions": "rates = '{}'",
}


def _refused(address: Address, statement: str, *settings: str) -> bool:
    with connect(address) as connection, connection.transaction(force_rollback=True):
        for setting in settings:
            rows(connection, f"SET LOCAL {setting}")
        try:
            rows(connection, statement)
        except psycopg.Error as error:
            assert error.sqlstate == "GR002", error  # noqa: PT017 - any other error is a failure
            return True
        return False


@pytest.mark.parametrize("table", TABLES)
async def test_nothing_changes_history_by_hand(ledger: Ledger, table: str) -> None:
    """Taken out: the trigger of each table. A hand that knows the setting still changes no amount."""
    address = ledger.database.address
    await _somebody(ledger)
    update, delete = f"UPDATE {table} SET {TABLES[table]}", f"DELETE FROM {table}"  # noqa: S608 - names of our own
    for statement in (update, delete, f"TRUNCATE {table} CASCADE"):
        assert _refused(address, statement), statement
    if not table.startswith("credit_lot"):
        settings = ["groat.correcting = 'anonymise'", "groat.correcting_user = '1'"]
        assert _refused(address, update, *settings)
        assert _refused(address, delete, *settings)


async def test_a_correction_is_of_one_user_only(ledger: Ledger) -> None:
    """A void moves events and loses none. Taken out: the triggers `…_one`; `credit_usage_events_void_moved`."""
    address = ledger.database.address
    user_id = await _somebody(ledger)
    other = await new_user(ledger)
    await charge(ledger, [use(other, "other")])
    mine = f"groat.correcting_user = '{user_id}'"
    for verb, may_be_done, statement in (
        ("anonymise", True, "UPDATE credit_usage_events SET description = 'x' WHERE user_id = {}"),
        ("void", False, "DELETE FROM credit_usage_events WHERE user_id = {}"),
    ):
        correcting = f"groat.correcting = '{verb}'"
        assert _refused(address, statement.format(user_id), correcting, mine) != may_be_done
        assert _refused(address, statement.format(other), correcting, mine)
        assert _refused(address, statement.format(user_id), correcting)
        assert _refused(address, statement.format(user_id), mine)


def test_every_column_of_history_is_for_ever_but_those_that_may_say_who_somebody_is(ledger_address: Address) -> None:
    """A column that a later version adds is guarded from its first day. Taken out: `hold_id` in guards.sql."""
    may_go = {
        "credit_usage_events": {"description", "session_id", "metadata", "idempotency_key"},
        "voided_credit_usage_events": {"description", "session_id", "metadata", "idempotency_key", "void_reason"},
        "credit_ledger_entries": {"reason"},
        "credit_operations": {"idempotency_key"},
        "audit_log": {"details"},
    }
    for table, expected in may_go.items():
        found = ask(
            ledger_address,
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " AND attnum NOT IN (SELECT unnest(tgattr::smallint[]) FROM pg_trigger"
            " WHERE tgrelid = attrelid AND tgname = %s)",
            [table, f"{table}_immutable"],
        )
        assert {name for (name,) in found} == expected, table


# --- the last administrator -------------------------------------------------------------------------------------------


async def test_the_last_administrator_stays_but_for_sql_by_hand(ledger: Ledger) -> None:
    one, two = [await create_user(ledger, f"{n}@example.com", is_admin=True) for n in range(2)]
    await update_user(ledger, two.id, is_admin=False)
    for attempt in (update_user(ledger, one.id, is_admin=False), anonymise_user(ledger, one.id, actor="test")):
        with pytest.raises(Conflict) as refused:
            await attempt
        assert refused.value.problem_code == "last_admin"
    await update_user(ledger, two.id, is_admin=False)
    await anonymise_user(ledger, two.id, actor="test")
    ask(ledger.database.address, "UPDATE users SET is_admin = false")
    assert not (await show_user(ledger, one.id)).is_admin


async def test_of_two_who_take_the_role_from_each_other_one_keeps_it(ledger: Ledger) -> None:
    """Taken out: the advisory lock in is_last_admin; then none is left in most rounds."""
    admins = [await create_user(ledger, f"{n}@example.com", is_admin=True) for n in range(8)]

    async def demote(user_id: int) -> None:
        with suppress(Conflict):
            await update_user(ledger, user_id, is_admin=False)

    for _ in range(5):
        await asyncio.gather(*(demote(admin.id) for admin in admins))
        assert ask(ledger.database.address, "SELECT count(*) FROM users WHERE is_admin") == [(1,)]
        ask(ledger.database.address, "UPDATE users SET is_admin = true")
