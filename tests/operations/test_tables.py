"""The tables as reports, and one user's balance line: what they say is what the rows come to."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.core.rows import LotRow
from groat_server.core.scopes import Scope
from groat_server.operations.reports import REPORTS, run_report
from groat_server.operations.reports.tables import TABLES
from groat_server.sql import Statement, source
from tests.operations.account import BIRTH, SqlAccount, day
from tests.operations.eventful import make_eventful
from tests.operations.histories import History, make_history
from tests.operations.ledgers import connect, rows
from tests.operations.raw_charges import call
from tests.operations.test_rollups import answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from groat_server.core.table_rows import BalancePoint
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

LINE = TABLES["user-balance-line"]


@pytest.fixture(params=range(4))
def history(ledger: Ledger, request: pytest.FixtureRequest) -> Iterator[History]:
    """Lend a ledger with a random history, in which charges come late too."""
    with connect(ledger.database.address) as connection:
        yield make_history(connection, request.param)


def windows(history: History) -> list[dict[str, Any]]:
    """Return windows that are told by the hour, the day and the week, closed and open, at and between acts."""
    instants = sorted({at for _, at in history.then})
    middle = instants[len(instants) // 2]
    return [
        {},
        {"from": middle},
        {"from": BIRTH - timedelta(days=500)},
        {"from": middle - timedelta(days=3), "to": middle + timedelta(days=3)},
        {"from": instants[3], "to": middle},
        {"from": middle + timedelta(minutes=7)},
        {"to": middle + timedelta(microseconds=1)},
    ]


async def line(ledger: Ledger, user_id: int, **window: Any) -> Sequence[BalancePoint]:
    return await run_report(ledger, "user-balance-line", user=user_id, **window)


async def test_a_balance_line_ends_at_the_present_balance(ledger: Ledger, history: History) -> None:
    """Taken out: the charge of a voided event, which its void gives back; then the line ends too high."""
    for account in history.accounts:
        for window in windows(history):
            points = await line(ledger, account.user_id, **window)
            if "to" not in window:
                assert points[-1].balance == account.balance["current_balance"], window
            assert all(later.balance == earlier.balance + later.amount for earlier, later in pairwise(points)), window
            assert [point.at for point in points] == sorted(point.at for point in points), window


async def test_a_balance_line_begins_with_the_balance_at_its_first_instant(ledger: Ledger, history: History) -> None:
    for account in history.accounts:
        whole = await line(ledger, account.user_id, **{"from": BIRTH - timedelta(days=500)})
        for window in windows(history):
            points = await line(ledger, account.user_id, **window)
            if "from" in window and points:
                first = points[0]
                assert (first.kind, first.amount) == ("opening", Decimal(0))
                moved = account.row(
                    """
                    SELECT coalesce(sum(amount), 0) AS credits FROM (
                        SELECT -credits_charged AS amount, created_at AS at, user_id FROM credit_usage_events
                        UNION ALL
                        SELECT -credits_charged, created_at, user_id FROM voided_credit_usage_events
                        UNION ALL
                        SELECT credits_charged, voided_at, user_id FROM voided_credit_usage_events
                        UNION ALL
                        SELECT amount, recorded_at, user_id FROM credit_ledger_entries
                    ) AS moves WHERE user_id = %s AND at < %s
                    """,
                    account.user_id,
                    window["from"],
                )
                assert first.balance == moved["credits"], window
        assert whole[0].balance == 0


async def test_what_is_no_usage_is_a_point_of_its_own(ledger: Ledger, history: History) -> None:
    for account in history.accounts:
        points = await line(ledger, account.user_id)
        told = sorted((point.at, point.kind, point.amount) for point in points if point.kind != "usage")
        booked = account.rows(
            "SELECT recorded_at, kind, amount FROM credit_ledger_entries WHERE user_id = %s"
            " UNION ALL SELECT voided_at, 'void', credits_charged FROM voided_credit_usage_events WHERE user_id = %s",
            account.user_id,
            account.user_id,
        )
        assert told == sorted(tuple(entry.values()) for entry in booked)
        events = account.row(
            "SELECT (SELECT count(*) FROM credit_usage_events WHERE user_id = %s)"
            " + (SELECT count(*) FROM voided_credit_usage_events WHERE user_id = %s) AS count",
            account.user_id,
            account.user_id,
        )
        assert sum(point.events or 0 for point in points) == events["count"]


async def test_without_late_bookings_each_point_is_the_balance_that_was_booked(ledger: Ledger) -> None:
    """Taken out: the cut of a day at what else moved the balance; then a reset stands on usage that came after it."""
    with connect(ledger.database.address) as connection:
        account = SqlAccount.open(connection, 100)
        for number in range(60):
            account.charge(f"{number}", "1.5", day(number * 0.7))
            if number % 10 == 3:
                account.adjust(f"adjust {number}", 2, day(number * 0.7 + 0.01))
        account.settle(day(45))
        points = {point.entry_id: point.balance for point in await line(ledger, account.user_id)}
        entries = account.rows(
            "SELECT id, balance_after FROM credit_ledger_entries WHERE user_id = %s", account.user_id
        )
        assert {entry["id"]: entry["balance_after"] for entry in entries}.items() <= points.items()


async def test_from_the_roll_ups_the_line_is_the_published_one(history: History) -> None:
    for account in history.accounts:
        for window in windows(history):
            values = {"user_id": account.user_id, "since": window.get("from"), "until": window.get("to")}
            published, rolled_up = (
                answer(history.connection, source(name), values)
                for name in ("tables/user_balance_line", "rollups/user_balance_line")
            )
            assert rolled_up == published, values


async def test_a_line_ends_in_the_middle_of_a_day(ledger: Ledger) -> None:
    """Taken out: the events of the day of `until`; then what came before it on its day is not in the line."""
    with connect(ledger.database.address) as connection:
        account = SqlAccount.open(connection, 100)
        for number in (3, 5.1, 5.2, 5.3, 7):
            account.charge(f"{number}", "1.5", day(number))
        for until, balance in ((day(5.25), "95.5"), (day(5.2), "97"), (day(5.35), "94"), (day(9), "92.5")):
            assert (await line(ledger, account.user_id, to=until))[-1].balance == Decimal(balance)
        # The week of which days are told together begins on a day of its own.
        assert (await line(ledger, account.user_id, **{"from": day(-500)}, to=day(5.25)))[-1].balance == Decimal("95.5")


async def test_a_long_line_has_few_points_and_reads_no_event_of_a_day_on_which_only_usage_was(ledger: Ledger) -> None:
    """Taken out: the sums of days; then a year's events are read."""
    with connect(ledger.database.address) as connection:
        account = SqlAccount.open(connection, 100)
        for number in range(300):
            charges = [account.use(f"{number} {part}", "0.25") for part in range(20)]
            rows(connection, call(charges, at=day(number + 0.5), columns="outcome"))
        points = await line(ledger, account.user_id, to=day(301))
        assert len([point for point in points if point.kind == "usage"]) <= 400
        assert sum(point.events or 0 for point in points) == 6000
        assert points[-1].balance == account.balance["current_balance"]
        rows(connection, "ANALYZE")
        plan = "\n".join(text for (text,) in explained(connection, account.user_id))
        assert read_events(plan) < 6000 / 10, plan


def explained(connection: psycopg.Connection[Any], user_id: int) -> list[tuple[Any, ...]]:
    values = {"user_id": str(user_id), "since": "NULL", "until": "NULL"}
    text = "\n".join(text.partition("--")[0] for text in source("rollups/user_balance_line").splitlines())
    for name, value in values.items():
        text = text.replace(f":{name}", value)
    return rows(connection, f"EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF) {text}")


def read_events(plan: str) -> float:
    """Return how many rows a plan has read of the events."""
    found = re.findall(r"on credit_usage_events.*?\(actual rows=([\d.]+) loops=(\d+)\)", plan)
    assert found, plan
    return sum(float(count) * int(loops) for count, loops in found)


async def test_the_tables_have_every_row_and_what_is_left_of_each_lot(ledger: Ledger) -> None:
    with connect(ledger.database.address) as connection:
        cast = make_eventful(connection)

        def count(table: str) -> int:
            return int(rows(connection, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - our own

        most: dict[str, Any] = {"limit": 500}
        tables = {
            "lots": "credit_lots", "holds": "credit_holds", "voided-events": "voided_credit_usage_events",
            "accounts": "users", "action-types": "action_types", "tokens": "access_tokens",
        }  # fmt: skip
        for name, table in tables.items():
            assert len(await run_report(ledger, name, **most)) == min(count(table), 500), name
        entries = await run_report(ledger, "ledger-entries", user=cast.ann, **most)
        assert [entry.version for entry in entries] == sorted((entry.version for entry in entries), reverse=True)
        for user_id in (cast.ann, cast.bob, cast.cay, cast.dan, cast.eve, cast.quiet):
            lots = await run_report(ledger, "lots", user=user_id, **most)
            debts, balance = rows(
                connection,
                "SELECT (SELECT coalesce(sum(amount), 0) FROM credit_lot_draws"
                " WHERE user_id = %(id)s AND lot_id IS NULL),"
                " current_balance FROM user_credit_balances WHERE user_id = %(id)s",
                {"id": user_id},
            )[0]
            started = sum(
                lot.remaining
                for lot in lots
                if rows(connection, "SELECT version FROM credit_lots WHERE user_id = %s AND id = %s", [user_id, lot.id])
                != [(None,)]
            )
            assert all(lot.remaining >= 0 for lot in lots)
            assert started == max(Decimal(0), balance + debts)
        people = {row.user_id: row for row in await run_report(ledger, "accounts", **most)}
        assert (people[cast.demo].demo_mode, people[cast.demo].balance) == (True, None)
        assert people[cast.forgotten].anonymised_at is not None


async def test_what_is_left_of_each_lot_is_what_the_users_own_list_says(ledger: Ledger, history: History) -> None:
    """Taken out: what was consumed since the last boundary, in v_lots."""
    for account in history.accounts[:-1]:
        account.adjust("boundary", 100, history.at)
        account.charge("since then", "0.5", history.at)
    changed = """
    SELECT count(*) FROM v_lots AS lot JOIN credit_lots AS stored USING (user_id, id)
    WHERE lot.remaining < stored.remaining
    """
    assert rows(history.connection, changed) > [(0,)], "else nothing is compared but what is stored"
    own_list = Statement("lots/list", LotRow)
    for account in history.accounts:
        async with ledger.database.read() as connection:
            lots = await own_list.all(connection, user_id=account.user_id, before_id=None, limit=500)
        told = await run_report(ledger, "lots", user=account.user_id, limit=500)
        assert {lot.id: lot.remaining for lot in told} == {lot.id: lot.remaining for lot in lots}


async def test_a_table_is_of_the_user_and_the_window_that_it_is_asked_for(ledger: Ledger, history: History) -> None:
    one = history.accounts[0]
    for name, column in (("ledger-entries", "recorded_at"), ("holds", "created_at"), ("voided-events", "voided_at")):
        whole = [row for row in await run_report(ledger, name, limit=500) if row.user_id == one.user_id]
        assert await run_report(ledger, name, limit=500, user=one.user_id) == whole
        middle = getattr(whole[len(whole) // 2], column) if whole else BIRTH
        bounded = await run_report(ledger, name, limit=500, user=one.user_id, **{"from": middle})
        assert bounded == [row for row in whole if getattr(row, column) >= middle]
        bounded = await run_report(ledger, name, limit=500, user=one.user_id, to=middle)
        assert bounded == [row for row in whole if getattr(row, column) < middle]


async def test_accounts_and_prices_are_found_by_a_part_of_their_names(ledger: Ledger, history: History) -> None:
    email = str(history.accounts[0].row("SELECT email FROM users WHERE id = %s", history.accounts[0].user_id)["email"])
    assert email in {row.email for row in await run_report(ledger, "accounts", search=email.upper(), limit=500)}
    assert await run_report(ledger, "accounts", search="%") == []
    assert {row.name for row in await run_report(ledger, "prices", search="LAMP", limit=500)} >= {"lamp"}
    assert await run_report(ledger, "prices", search="no such model") == []


def test_only_what_is_of_administration_needs_an_administrator() -> None:
    assert {name for name, report in REPORTS.items() if report.scope is not Scope.REPORTS_READ} == {
        "audit-log",
        "tokens",
    }
