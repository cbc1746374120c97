"""Each report is its published SQL, on every surface and on any history; its parts add up to its whole."""

from __future__ import annotations

import csv
import io
import os
import subprocess
from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.core.psql_script import psql_script
from groat_server.errors import NotFound, Unprocessable
from groat_server.operations.reports import REPORTS, explain_report, explain_user, overview, run_report, user
from groat_server.operations.users import list_users
from tests.operations.account import BIRTH
from tests.operations.histories import History, make_history
from tests.operations.ledgers import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from groat_server.core.cells import CellType
    from groat_server.database import Address
    from groat_server.embedded import Server
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

NULL = "(null)"
_READ: Mapping[CellType, Callable[[str], object]] = {
    "text": str,
    "integer": int,
    "number": Decimal,
    "instant": datetime.fromisoformat,
    "date": date.fromisoformat,
    "flag": lambda text: text == "t",
}


@pytest.fixture(params=range(6))
def history(ledger_address: Address, request: pytest.FixtureRequest) -> Iterator[History]:
    """Lend a ledger with a random history."""
    with connect(ledger_address) as connection:
        yield make_history(connection, request.param)


def run_psql(server: Server, address: Address, script: str) -> list[list[str]]:
    """Run a script in psql as it stands; returns what it prints, header included."""
    done = subprocess.run(
        [server.binaries / "psql", "-X", "-q", "--csv", "-P", f"null={NULL}", "-v", "ON_ERROR_STOP=1", address.url],
        env=os.environ | {"PGOPTIONS": address.options()},
        input=script,
        capture_output=True,
        text=True,
        check=True,
    )
    return list(csv.reader(io.StringIO(done.stdout)))


def by_hand(server: Server, address: Address, script: str, columns: Mapping[str, CellType]) -> list[dict[str, object]]:
    """Run a report's script and read its rows."""
    header, *found = run_psql(server, address, script)
    rows = [dict(zip(header, row, strict=True)) for row in found]
    return [
        {name: None if row[name] == NULL else _READ[kind](row[name]) for name, kind in columns.items()} for row in rows
    ]


def shown(rows: Sequence[Any], columns: Mapping[str, CellType]) -> list[dict[str, object]]:
    return [{name: getattr(row, name) for name in columns} for row in rows]


@pytest.mark.parametrize(
    ("history", "as_of"),
    [(number, None if number % 2 else BIRTH + timedelta(days=40)) for number in range(6)],
    indirect=["history"],
)
async def test_each_report_is_its_published_sql_run_by_hand(
    server: Server, ledger: Ledger, history: History, as_of: datetime | None
) -> None:
    address = ledger.database.address
    for name, report in REPORTS.items():
        known = {parameter.name for parameter in report.parameters}
        for said in ({}, {"days": 366, "limit": 500, "sort_by": "email"}, {"days": 1, "limit": 1}):
            given: dict[str, Any] = {key: value for key, value in (said | {"as_of": as_of}).items() if key in known}
            required = {"user": history.accounts[0].user_id, "priced": "chat", "kind": "action"}
            given |= {each.name: required[each.name] for each in report.parameters if each.is_required}
            script = await explain_report(ledger, name, **given)
            rows = shown(await run_report(ledger, name, **given), report.columns)
            assert by_hand(server, address, script, report.columns) == rows, (name, given)


async def test_the_parts_of_a_report_add_up_to_its_whole(ledger: Ledger, history: History) -> None:
    for days in (1, 7, 30, 366):
        window = {"days": days, "as_of": history.at}
        total, *parts = await run_report(ledger, "overview", **window)
        trend = await run_report(ledger, "daily-trend", **window)
        consumers = await run_report(ledger, "top-consumers", limit=500, **window)
        actions = await run_report(ledger, "usage-by-action", **window)
        models = await run_report(ledger, "usage-by-model", **window)
        hours = await run_report(ledger, "usage-by-hour", **window)
        for rows in (parts, trend, consumers, actions, models, hours):
            assert sum(row.total_credits for row in rows) == total.total_credits
        assert sum(row.events for row in trend) == sum(row.events for row in consumers) == total.event_count
        assert sum(row.event_count for row in parts) == sum(row.event_count for row in models) == total.event_count
        assert sum(row.total_api_cost_dollars for row in consumers) == total.total_api_cost_dollars
        assert len(consumers) == total.active_users
        assert sum(row.refunded_credits for row in parts) == total.refunded_credits
        assert total.total_credits - total.refunded_credits == total.net_credits
        users = [
            await run_report(ledger, "user-actions", user=account.user_id, **window) for account in history.accounts
        ]
        for name in ("total_credits", "refunded_credits", "net_credits", "event_count"):
            assert sum(getattr(row, name) for rows in users for row in rows) == getattr(total, name)


async def test_the_overview_and_the_runway_are_what_the_rows_come_to(ledger: Ledger, history: History) -> None:
    """Recounted in Python. Taken out: the refunds' join by event; the holds in the runway."""
    account = history.accounts[0]
    since = history.at - timedelta(days=30)
    events = account.rows("SELECT * FROM credit_usage_events WHERE created_at > %s", since)
    refunds: defaultdict[int, Decimal] = defaultdict(Decimal)
    for entry in account.rows("SELECT * FROM credit_ledger_entries WHERE kind = 'refund'"):
        refunds[entry["event_id"]] += entry["amount"]
    total, *_ = await run_report(ledger, "overview", days=30, as_of=history.at)
    assert total.total_credits == sum(event["credits_charged"] for event in events)
    assert total.refunded_credits == sum(refunds[event["id"]] for event in events)

    burned: defaultdict[int, Decimal] = defaultdict(Decimal)
    for event in events:
        burned[event["user_id"]] += event["credits_charged"]
    rows = await run_report(ledger, "runway", days=30, as_of=history.at, limit=500)
    assert {row.user_id for row in rows} == {each.user_id for each in history.accounts[:-1]}
    held = {account.user_id: Decimal("1.75")}
    for row in rows:
        balance = account.row("SELECT * FROM user_credit_balances WHERE user_id = %s", row.user_id)
        available = balance["current_balance"] + balance["overdraft_limit"] - held.get(row.user_id, 0)
        assert row.available == available
        assert abs(row.credits_per_day - burned[row.user_id] / 30) < Decimal("1e-11")
        if burned[row.user_id]:
            days_left = min(max(available, Decimal(0)) * 30 / burned[row.user_id], Decimal(10**6))
            assert abs(row.days_left - days_left) <= Decimal("0.005")
        else:
            assert row.days_left is None
    known = [row.days_left for row in rows if row.days_left is not None]
    assert known == sorted(known)
    assert [row.days_left for row in rows[len(known) :]] == [None] * (len(rows) - len(known))


async def test_one_users_report_has_the_holds_that_are_open(server: Server, ledger: Ledger, history: History) -> None:
    """Taken out: the condition on expires_at."""
    account = history.accounts[0]
    found = await user(ledger, account.user_id, days=30)
    assert sorted(hold.amount for hold in found.open_holds) == [Decimal("0.5"), Decimal("1.25")]
    assert all(hold.id.startswith(f"hold_{account.user_id}_") for hold in found.open_holds)
    assert found.user.held == Decimal("1.75")
    assert {each.held for each in await list_users(ledger) if each.id == account.user_id} == {Decimal("1.75")}
    assert found.user.current_balance is not None
    assert found.user.overdraft_limit is not None
    assert found.user.available == found.user.current_balance + found.user.overdraft_limit - Decimal("1.75")
    printed = run_psql(server, ledger.database.address, explain_user(account.user_id, days=30))
    assert len(printed) == 4 + 1 + len(found.recent_events) + len(found.by_action_type) + len(found.open_holds)


async def test_the_overviews_whole_and_parts_are_one_answer(ledger: Ledger, history: History) -> None:
    total, parts = await overview(ledger, days=366)
    assert (total.action_type, {part.action_type for part in parts}) == (None, {"agent", "chat", "image"}), history.at


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("overview", {"limit": 3}, "limit"),
        ("overview", {"days": 0}, "days"),
        ("overview", {"days": 367}, "days"),
        ("users", {"limit": 501}, "limit"),
        ("users", {"sort_by": "nonsense"}, "sort_by"),
        ("user-events", {}, "user"),
        ("recent-activity", {"days": 3}, "days"),
    ],
)
async def test_a_report_takes_what_its_entry_says_and_nothing_else(
    ledger: Ledger, name: str, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(Unprocessable) as refused:
        await run_report(ledger, name, **given)
    errors: Any = refused.value.members["errors"]
    assert [error["field"] for error in errors] == [field]


async def test_a_report_that_is_none_is_not_found(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="There is no report"):
        await run_report(ledger, "nonsense")


@pytest.mark.parametrize(
    "text", ["plain", "it's", "back\\slash", "\\'", ":days", "-- no comment", "$$", "ü 'x' \\n", " "]
)
async def test_any_text_goes_through_a_script_for_psql_as_it_is(
    server: Server, ledger_address: Address, text: str
) -> None:
    """Taken out: doubling the backslash."""
    script = psql_script([("-- Says :days.\nSELECT CAST(:given AS text) AS given", {"given": text})])
    assert run_psql(server, ledger_address, script) == [["given"], [text]]
