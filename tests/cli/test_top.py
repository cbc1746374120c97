"""`groat top`: the board's figures against the rows, and the screen, driven by keys, while charges arrive."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from textual.widgets import DataTable, Input, Static

from groat_server.cli.live import app as live_app
from groat_server.cli.live.app import EventsScreen, Top, Users
from groat_server.cli.live.board import MINUTES, Board
from groat_server.core.feed_rows import ActiveUser
from groat_server.operations.feed import active_users
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from tests.cli.test_tail import HOSTILE_EMAIL, HOSTILE_MODEL, with_guards_off
from tests.operations.ledgers import ask, use

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from textual.pilot import Pilot

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from tests.cli.conftest import Groat

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
NOON_MINUTE = int(NOON.timestamp()) - 30
WIDE = (140, 40)


async def user(ledger: Ledger, email: str) -> int:
    return (await create_user(ledger, email, monthly_allowance=Decimal(1000))).id


def seen(user_id: int, minutes: dict[int, int], *, at: datetime = NOON, **changes: Any) -> ActiveUser:
    """Make what a look brings of a user: credits by minute, counted from noon's."""
    row = ActiveUser(
        user_id=user_id,
        email=f"{user_id}@example.com",
        balance=Decimal(100 - user_id),
        credits_today=Decimal(sum(minutes.values())),
        last_seen=at,
        last_action="chat" if minutes else None,
        last_model="lamp" if minutes else None,
        credits_now=Decimal(sum(minutes.values())),
        events_now=len(minutes),
        minutes=[NOON_MINUTE + 60 * minute for minute in minutes],
        credits=[Decimal(used) for used in minutes.values()],
        events=[1 for _ in minutes],
        looked_at=at,
        is_whole=True,
    )
    return replace(row, **changes)


# The board.


def test_what_was_read_earlier_is_kept_and_what_was_read_again_replaced() -> None:
    board = Board()
    assert board.since is None
    board.take([seen(1, {-3: 4, -1: 2, 0: 1})])
    assert board.since == NOON_MINUTE - 60
    later = NOON + timedelta(minutes=1)
    board.take([seen(1, {-1: 8, 0: 1, 1: 2}, at=later)])
    (line,) = board.lines("credits")
    assert line.minutes == {NOON_MINUTE + 60 * minute: used for minute, used in {-3: 4, -1: 8, 0: 1, 1: 2}.items()}
    assert board.spark(line)[-5:] == "▄ █▁▂"
    assert len(board.spark(line)) == MINUTES


def test_minutes_leave_the_board_at_its_edge() -> None:
    board = Board()
    board.take([seen(1, {-MINUTES: 5, 1 - MINUTES: 7})])
    (line,) = board.lines("credits")
    assert list(line.minutes.values()) == [7]
    board.take([seen(1, {}, at=NOON + timedelta(minutes=1))])
    assert line.minutes == {}
    assert board.spark(line) == " " * MINUTES


def test_a_first_look_that_could_not_read_all_draws_no_minute_that_it_saw_in_part() -> None:
    board = Board()
    board.take([seen(1, {-2: 5, -1: 7}, is_whole=False), seen(2, {-1: 3}, is_whole=False)])
    assert [list(line.minutes.values()) for line in board.lines("email")] == [[7], [3]]
    assert board.totals.is_whole
    board.take([seen(1, {-1: 5, 0: 7}, is_whole=False)])
    assert not board.totals.is_whole


def test_who_has_used_nothing_since_keeps_the_last_action_and_gets_the_balance_of_now() -> None:
    board = Board()
    board.take([seen(1, {0: 5})])
    board.take([seen(1, {}, at=NOON + timedelta(minutes=5), balance=Decimal(7))])
    (line,) = board.lines("credits")
    assert (line.last_action, line.last_model, line.balance, line.events_now) == ("chat", "lamp", Decimal(7), 0)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("credits", [2, 3, 1]), ("today", [1, 2, 3]), ("balance", [3, 2, 1]), ("seen", [3, 1, 2]), ("email", [1, 2, 3])],
)
def test_the_orders(order: Any, expected: list[int]) -> None:
    board = Board()
    rows = [
        seen(1, {0: 1}, credits_today=Decimal(9)),
        seen(2, {0: 3}, credits_today=Decimal(8), last_seen=NOON - timedelta(days=1)),
        seen(3, {0: 2}, credits_today=Decimal(7), last_seen=NOON + timedelta(seconds=1)),
    ]
    board.take(rows)
    assert [line.user_id for line in board.lines(order)] == expected
    assert [line.user_id for line in board.lines(order, "2@EXAMPLE")] == [2]


def test_the_board_has_room_for_two_thousand_users() -> None:
    board = Board()
    board.take([seen(number, {0: 1}, last_seen=NOON - timedelta(seconds=number)) for number in range(3000)])
    assert len(board.known) == 2000
    assert max(board.known) == 1999


async def test_the_figures_are_those_of_the_rows(ledger: Ledger, ledger_address: Address) -> None:
    ann, bob = await user(ledger, "ann@example.com"), await user(ledger, "bob@example.com")
    now = datetime.now(UTC)
    await charge(ledger, [use(ann, "old", 5, occurred_at=now - timedelta(days=2), backfill=True)])
    await charge(ledger, [use(ann, f"{number}", 2) for number in range(3)])
    await charge(ledger, [use(bob, "x", 7, occurred_at=now - timedelta(minutes=3))])
    rows = {row.email: row for row in await active_users(ledger, since=None, known=[], events_max=100)}
    assert (rows["ann@example.com"].credits_now, rows["ann@example.com"].events_now) == (Decimal(6), 3)
    assert (rows["bob@example.com"].credits_now, rows["bob@example.com"].events_now) == (Decimal(0), 0)
    assert (rows["ann@example.com"].balance, rows["bob@example.com"].balance) == (Decimal(989), Decimal(993))
    assert (rows["ann@example.com"].credits[0], sum(rows["ann@example.com"].credits)) == (Decimal(5), Decimal(11))
    (today,) = ask(
        ledger_address,
        "SELECT coalesce(sum(credits_charged), 0) FROM credit_usage_events"
        " WHERE user_id = %s AND created_at >= date_trunc('day', now(), 'UTC')",
        (ann,),
    )
    assert rows["ann@example.com"].credits_today == today[0]
    since = int((now - timedelta(minutes=1)).timestamp())
    later = {row.email: row for row in await active_users(ledger, since=since, known=[bob], events_max=2)}
    assert (later["bob@example.com"].minutes, later["bob@example.com"].last_action) == ([], None)
    assert (later["ann@example.com"].is_whole, sum(later["ann@example.com"].events)) == (False, 2)


# The screen. The tests look when they want to: no clock does.


def screen(ledger: Ledger) -> Top:
    return Top(ledger, look_seconds=0)


async def look(pilot: Pilot[None], app: Top) -> None:
    """Look once, and wait until it is drawn."""
    await app.look()
    await pilot.pause()


def shown(app: Top) -> list[list[str]]:
    """Return the cells of the table, row by row."""
    table = app.query_one(Users)
    return [[str(cell).strip() for cell in table.get_row_at(row)] for row in range(table.row_count)]


def columns(app: Top) -> list[str]:
    return [str(column.label) for column in app.query_one(Users).ordered_columns]


def text(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).render())


async def test_charges_that_arrive_move_users_up(ledger: Ledger) -> None:
    ann, bob = await user(ledger, "ann@example.com"), await user(ledger, "bob@example.com")
    await charge(ledger, [use(ann, "a", 2)])
    app = screen(ledger)
    async with app.run_test(size=WIDE) as pilot:
        assert shown(app) == []
        await look(pilot, app)
        assert [row[:2] for row in shown(app)] == [["ann@example.com", "2.000"]]
        await charge(ledger, [use(bob, "b", 5)])
        chat = replace(use(bob, "c"), action_type="chat", quantity=None, input_tokens=1_000_000, model="lamp")
        await charge(ledger, [chat])
        await look(pilot, app)
        first, second = shown(app)
        assert [first[0], first[1], *first[3:7]] == [
            "bob@example.com", "15.000", "15.000", "985.000", "chat", "lamp"
        ]  # fmt: skip
        assert second[0] == "ann@example.com"
        assert text(app, "totals") == "groat top  17.000 credits/min · 3 events/min · 2 active users"
        assert "PostgreSQL 18" in text(app, "state") or "PostgreSQL 1" in text(app, "state")


async def test_keys_sort_and_the_cursor_stays_with_its_user(ledger: Ledger) -> None:
    ann, bob = await user(ledger, "ann@example.com"), await user(ledger, "bob@example.com")
    await charge(ledger, [use(ann, "a", 9), use(bob, "b", 5)])
    await grant_credits(
        ledger, Grant(user_id=bob, key="g", kind="purchase", amount=Decimal(50), reason="r", actor="cli:test")
    )
    app = screen(ledger)
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot, app)
        assert [row[0][:3] for row in shown(app)] == ["ann", "bob"]
        await pilot.press("down")  # to bob
        await pilot.press("b")
        assert "balance, lowest first" in text(app, "state")
        assert [row[0][:3] for row in shown(app)] == ["ann", "bob"]
        await charge(ledger, [use(bob, "c", 500)])
        await look(pilot, app)
        assert [row[0][:3] for row in shown(app)] == ["bob", "ann"]
        assert app.query_one(Users).cursor_row == 0
        await pilot.press("e")
        assert [row[0][:3] for row in shown(app)] == ["ann", "bob"]
        assert app.query_one(Users).cursor_row == 1
        await pilot.press("s")
        assert "credits/min" in text(app, "state")
        orders = []
        for _ in range(5):
            await pilot.press("s")
            orders.append(app.order)
        assert sorted(orders) == ["balance", "credits", "email", "seen", "today"]


async def test_a_search_leaves_those_whose_address_has_it(ledger: Ledger) -> None:
    ann, bob = await user(ledger, "ann@example.com"), await user(ledger, "bob@example.com")
    await charge(ledger, [use(ann, "a", 9), use(bob, "b", 5)])
    app = screen(ledger)
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot, app)
        await pilot.press("slash", "b", "o", "b")  # letters are letters now
        assert [row[0] for row in shown(app)] == ["bob@example.com"]
        assert app.order == "credits"
        await pilot.press("enter")
        assert app.focused is app.query_one(Users)
        await look(pilot, app)
        assert [row[0] for row in shown(app)] == ["bob@example.com"]
        await pilot.press("escape")
        assert len(shown(app)) == 2
        assert not app.query_one("#search", Input).display


async def test_enter_shows_the_newest_events_and_acts_of_a_user(ledger: Ledger) -> None:
    ann = await user(ledger, "ann@example.com")
    await charge(ledger, [use(ann, "a", 9)])
    await grant_credits(
        ledger, Grant(user_id=ann, key="g", kind="purchase", amount=Decimal(50), reason="r", actor="cli:test")
    )
    app = screen(ledger)
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot, app)
        await pilot.press("enter")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, EventsScreen)
        table: DataTable[Any] = app.screen.query_one(DataTable)
        events = [[str(cell).strip() for cell in table.get_row_at(row)][1:] for row in range(table.row_count)]
        assert events == [
            ["grant by cli:test", "", "", "+50", ""],
            ["unit", "", "x 9", "9", "991"],
        ]
        await charge(ledger, [use(ann, "b", 1)])
        await look(pilot, app)  # goes on below
        await pilot.press("escape")
        assert not isinstance(app.screen, EventsScreen)
        assert [row[1] for row in shown(app)] == ["10.000"]


async def test_space_pauses(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken out: the question to `is_paused`."""
    looks: list[bool] = []
    app = Top(ledger, look_seconds=0.001)

    async def look() -> None:
        looks.append(app.is_paused)

    monkeypatch.setattr(app, "look", look)
    async with app.run_test(size=WIDE) as pilot:
        while len(looks) < 3:
            await pilot.pause()
        await pilot.press("space")
        assert "PAUSED" in text(app, "totals")
        for _ in range(20):
            await pilot.pause(0.001)
        await pilot.press("space")
        count = len(looks)
        while len(looks) < count + 3:
            await pilot.pause()
        assert not any(looks)
        assert "PAUSED" not in text(app, "totals")
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (140, ["user", "credits/min", "last 12 min", "today", "balance", "last action", "last model", "seen"]),
        (100, ["user", "credits/min", "last 12 min", "today", "balance", "last action", "seen"]),
        (80, ["user", "credits/min", "last 12 min", "balance", "seen"]),
        (40, ["user", "credits/min", "balance"]),
    ],
)
async def test_a_narrow_terminal_has_fewer_columns_and_whole_figures(
    ledger: Ledger, width: int, expected: Sequence[str]
) -> None:
    ann = await user(ledger, f"{'ann' * 20}@example.com")
    await charge(ledger, [use(ann, "a", 9)])
    app = screen(ledger)
    async with app.run_test(size=(width, 20)) as pilot:
        await look(pilot, app)
        assert columns(app) == expected
        table = app.query_one(Users)
        assert table.virtual_size.width <= width
        (row,) = shown(app)
        assert row[0].startswith("annann")
        assert row[0].endswith("…")
        assert "991.000" in row
        await pilot.resize_terminal(140, 20)
        await pilot.pause()
        assert len(columns(app)) == 8


async def test_more_users_than_fit_are_counted_and_found(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_app, "ROWS_MAX", 2)
    users = [await user(ledger, f"{name}@example.com") for name in ("ann", "bob", "eve")]
    await charge(ledger, [use(user_id, "a", 9 - number) for number, user_id in enumerate(users)])
    app = screen(ledger)
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot, app)
        assert [row[0][:3] for row in shown(app)] == ["ann", "bob"]
        assert "3 users, 2 shown" in text(app, "state")
        await pilot.press("slash", "e", "v", "e")
        assert [row[0][:3] for row in shown(app)] == ["eve"]


async def test_a_ledger_that_cannot_be_read_is_told_and_the_view_goes_on(
    ledger: Ledger, ledger_address: Address
) -> None:
    ann = await user(ledger, "ann@example.com")
    await charge(ledger, [use(ann, "a", 9)])
    app = screen(ledger)
    async with app.run_test(size=WIDE) as pilot:
        await look(pilot, app)
        ask(
            ledger_address,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'groat reports' AND datname = current_database()",
        )
        await look(pilot, app)
        assert "connection to the database was lost" in text(app, "state")
        assert len(shown(app)) == 1
        await look(pilot, app)
        assert "lost" not in text(app, "state")


async def test_hostile_names_are_text(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: `plain` in cli/live/app.py."""
    ann = await user(ledger, "ann@example.com")
    await charge(ledger, [use(ann, "a", 9)])
    with_guards_off(ledger_address, HOSTILE_EMAIL, HOSTILE_MODEL)
    app = screen(ledger)
    try:
        async with app.run_test(size=(200, 20)) as pilot:
            await look(pilot, app)
            (row,) = shown(app)
            assert "[red]b[/red]" in row[0]
            assert row[6] == "[bold]\\x1b[2J"
            drawn = app.export_screenshot()
            await pilot.press("enter")
            await app.workers.wait_for_complete()
            await pilot.pause()
            drawn += app.export_screenshot()
            assert isinstance(app.screen, EventsScreen)
            assert not [each for each in drawn if not each.isprintable() and each != "\n"]
            assert "[bold]" in drawn
    finally:
        with_guards_off(ledger_address, "ann@example.com", None)


def test_it_needs_a_terminal(groat: Groat) -> None:
    told = groat("top")
    assert told.code == 1
    assert "needs a terminal" in told.err


def test_a_picture_can_be_made_without_one(groat: Groat, tmp_path: Path) -> None:
    told = groat("top", "--screenshot", str(tmp_path / "top.svg"))
    assert told.code == 0, told.err
    assert "credits/min" in (tmp_path / "top.svg").read_text().replace("&#160;", " ")
