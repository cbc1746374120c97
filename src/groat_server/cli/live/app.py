"""The full screen of `groat top`."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Static

from groat_server.cli.live.board import EVENTS_MAX, MINUTES, ORDERS, Board, Line, Order
from groat_server.cli.live.plain import fitted, plain
from groat_server.core.feed_rows import FeedFilter
from groat_server.errors import GroatError
from groat_server.operations.feed import Feed, active_users

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime
    from decimal import Decimal

    from groat_server.core.feed_rows import FeedEvent
    from groat_server.operations.ledger import Ledger

LOOK_SECONDS = 2.0
ROWS_MAX = 200
EVENTS_SHOWN = 50
_LOOK_SHARE = 4
_SERVICE_LOOKS = 5  # each so-manieth look asks for the service too

_TITLES: dict[str, str] = {
    "email": "user",
    "credits": "credits/min",
    "spark": f"last {MINUTES} min",
    "today": "today",
    "balance": "balance",
    "action": "last action",
    "model": "last model",
    "seen": "seen",
}
_NUMBERS = {"credits", "today", "balance", "seen"}
# Figures are shown whole; of texts so much, and of the e-mail address what there is room for.
_WIDTHS = {"spark": MINUTES, "action": 15, "model": 17}
_EMAIL_WIDTH_LEAST = 12
_SCROLLBAR = 2
# What a terminal of so many columns has room for.
_COLUMNS: Sequence[tuple[int, Sequence[str]]] = (
    (116, ("email", "credits", "spark", "today", "balance", "action", "model", "seen")),
    (92, ("email", "credits", "spark", "today", "balance", "action", "seen")),
    (64, ("email", "credits", "spark", "balance", "seen")),
    (0, ("email", "credits", "balance")),
)
_ORDER_NAMES: dict[Order, str] = {
    "credits": "credits/min",
    "today": "credits today",
    "balance": "balance, lowest first",
    "seen": "last seen",
    "email": "e-mail",
}


class Users(DataTable[Text]):
    """The table of users."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "events", key_display="enter")]


class EventsScreen(ModalScreen[None]):
    """One user's newest events."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back"),
        Binding("q", "dismiss", "back", show=False),
    ]
    CSS = """
    EventsScreen { align: center middle; }
    #events { width: 96%; height: 86%; border: round $accent; background: $surface; padding: 0 1; }
    """

    def __init__(self, email: str, events: Sequence[FeedEvent]) -> None:
        super().__init__()
        self._email = email
        self._events = events

    def compose(self) -> ComposeResult:
        """Lay out."""
        with Vertical(id="events"):
            yield Static(Text(f"The newest events of {self._email}   (Esc: back)", style="bold"))
            yield DataTable[Text](cursor_type="row", zebra_stripes=True)

    def on_mount(self) -> None:
        """Fill in the events, newest first."""
        table = self.query_one(DataTable)
        table.add_columns(
            "time (UTC)",
            "what",
            "model",
            _title("tokens", is_number=True),
            _title("credits", is_number=True),
            _title("balance after", is_number=True),
        )
        for event in reversed(self._events):
            table.add_row(*_event_cells(event))


class Top(App[None]):
    """Who uses how much, looked at again and again until `q`."""

    TITLE = "groat top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("s", "next_order", "sort"),
        Binding("c", "order('credits')", "by credits"),
        Binding("b", "order('balance')", "by balance"),
        Binding("e", "order('email')", "by e-mail"),
        Binding("slash", "search", "search", key_display="/"),
        Binding("space", "pause", "pause", key_display="space"),
        Binding("escape", "leave_search", "all", show=False),
    ]
    CSS = """
    #totals { height: auto; padding: 0 1; }
    #state { height: auto; padding: 0 1; color: $text-muted; }
    #search { display: none; height: 1; border: none; padding: 0 1; }
    #search:focus { border: none; }
    #search.sought { display: block; }
    DataTable { height: 1fr; }
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        service: Callable[[], Awaitable[str]] | None = None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._service = service
        self._look_seconds = look_seconds
        self._looks = 0
        self._service_state = ""
        self._trouble: str | None = None
        self._columns: dict[str, int] = {}
        self._is_there = False
        self.board = Board()
        self.order: Order = "credits"
        self.is_paused = False

    def compose(self) -> ComposeResult:
        """Lay out."""
        yield Static(id="totals")
        yield Static(id="state")
        yield Input(placeholder="part of an e-mail address", id="search")
        yield Users(cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._is_there = True
        self._main.query_one(Users).focus()
        self._show()
        if self._look_seconds:
            self.run_worker(self._keep_looking(), exclusive=True)

    async def _keep_looking(self) -> None:
        while True:
            began = time.monotonic()
            if not self.is_paused:
                await self.look()
            # A ledger that is busy enough to make looks slow is looked at less often.
            await asyncio.sleep(max(self._look_seconds, _LOOK_SHARE * (time.monotonic() - began)))

    async def look(self) -> None:
        """Look at the ledger once, and show what there is."""
        if self._service is not None and self._looks % _SERVICE_LOOKS == 0:
            self._service_state = await self._service()
        self._looks += 1
        try:
            board = self.board
            rows = await active_users(self._ledger, since=board.since, known=board.known, events_max=EVENTS_MAX)
        except GroatError as error:
            self._trouble = error.detail
        else:
            self._trouble = None
            self.board.take(rows)
        self._show()

    def on_resize(self) -> None:
        """Show as many columns as there is room for."""
        self.call_after_refresh(self._show)

    def on_input_changed(self) -> None:
        """Search as it is typed."""
        self._show()

    def on_input_submitted(self) -> None:
        """Go to what was found."""
        self._main.query_one(Users).focus()

    def on_data_table_row_selected(self) -> None:
        """Show the newest events of the user under the cursor."""
        self.run_worker(self.action_show())

    def action_next_order(self) -> None:
        """Sort by the next column."""
        self.action_order(ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)])

    def action_order(self, order: Order) -> None:
        """Sort in this order."""
        self.order = order
        self._show()

    def action_pause(self) -> None:
        """Stand still, or go on."""
        self.is_paused = not self.is_paused
        self._show()

    def action_search(self) -> None:
        """Ask what to search for."""
        field = self._main.query_one("#search", Input)
        field.add_class("sought")
        field.focus()

    def action_leave_search(self) -> None:
        """Show all users again."""
        field = self._main.query_one("#search", Input)
        field.remove_class("sought")
        field.value = ""
        self._main.query_one(Users).focus()

    async def action_show(self) -> None:
        """Show the newest events of the user under the cursor."""
        line = self._line_under_cursor()
        if line is None:
            return
        try:
            events = await Feed(self._ledger).newest(FeedFilter(user_id=line.user_id), EVENTS_SHOWN)
        except GroatError as error:
            self._trouble = error.detail
            self._show()
        else:
            await self.push_screen(EventsScreen(plain(line.email), events))

    def _line_under_cursor(self) -> Line | None:
        key = _key_under_cursor(self._main.query_one(Users))
        return next((line for line in self._lines() if str(line.user_id) == key), None)

    def _lines(self) -> list[Line]:
        return self.board.lines(self.order, self._search)

    @property
    def _main(self) -> Screen[Any]:
        """The screen with the table, also while another one lies over it."""
        return self.screen_stack[0]

    @property
    def _search(self) -> str:
        return self._main.query_one("#search", Input).value.strip()

    def _show(self) -> None:
        """Draw all of it anew."""
        if not self._is_there:
            return
        lines = self._lines()
        self._main.query_one("#totals", Static).update(self._totals())
        self._main.query_one("#state", Static).update(self._state(len(lines)))
        with self.batch_update():
            self._fill(self._main.query_one(Users), lines[:ROWS_MAX])

    def _totals(self) -> Text:
        totals = self.board.totals
        least = "" if totals.is_whole else "at least "
        return Text.assemble(
            ("groat top  ", "bold"),
            least,
            (f"{totals.credits:,.3f}", "bold"),
            " credits/min · ",
            (f"{totals.events:,}", "bold"),
            " events/min · ",
            (f"{totals.users:,}", "bold"),
            f" active {'user' if totals.users == 1 else 'users'}",
            ("   PAUSED", "bold reverse") if self.is_paused else "",
        )

    def _state(self, found: int) -> Text:
        looked_at = self.board.looked_at
        ledger = f"PostgreSQL {self._ledger.server_version}" if self._trouble is None else plain(self._trouble)
        parts = [
            ledger,
            self._service_state,
            f"sorted by {_ORDER_NAMES[self.order]}",
            f"{found:,} users" + (f", {ROWS_MAX} shown" if found > ROWS_MAX else ""),
            "" if looked_at is None else f"{looked_at:%H:%M:%S} UTC",
        ]
        return Text(" · ".join(part for part in parts if part), style="bold" if self._trouble else "")

    def _fill(self, table: Users, lines: Sequence[Line]) -> None:
        rows = [self._cells(line) for line in lines]
        columns = self._widths(rows)
        under_cursor, offset = _key_under_cursor(table), table.scroll_offset
        has_columns = columns == self._columns
        table.clear(columns=not has_columns)
        if not has_columns:
            for name, width in columns.items():
                table.add_column(_title(_TITLES[name], is_number=name in _NUMBERS), key=name, width=width)
            self._columns = columns
        for line, cells in zip(lines, rows, strict=True):
            email = Text(fitted(plain(line.email), columns["email"]))
            table.add_row(*(cells.get(name, email) for name in columns), key=str(line.user_id))
        at = next((row for row, line in enumerate(lines) if str(line.user_id) == under_cursor), 0)
        table.move_cursor(row=at, animate=False, scroll=False)
        table.scroll_to(y=offset.y, animate=False, immediate=True)

    def _widths(self, rows: Sequence[dict[str, Text]]) -> dict[str, int]:
        """Return the columns that the terminal has room for, each with its width."""
        names = next(names for width, names in _COLUMNS if self.size.width >= width)
        widths = {"email": 0}
        for name in names[1:]:
            cells = (_WIDTHS.get(name) or cells[name].cell_len for cells in rows)
            widths[name] = max(len(_TITLES[name]), *cells, 0)
        taken = sum(widths.values()) + 2 * len(widths) + _SCROLLBAR
        widths["email"] = max(self.size.width - taken, _EMAIL_WIDTH_LEAST)
        return widths

    def _cells(self, line: Line) -> dict[str, Text]:
        """Return what there is to show of a user beside the e-mail address; texts of the ledger are no markup."""
        looked_at = self.board.looked_at
        return {
            "credits": _figure(line.credits_now, "bold") if line.events_now else Text(),
            "spark": Text(self.board.spark(line), style="green"),
            "today": _figure(line.credits_today) if line.credits_today else Text(),
            "balance": _figure(line.balance, "" if line.balance > 0 else "red"),
            "action": Text(fitted(plain(line.last_action), _WIDTHS["action"])),
            "model": Text(fitted(plain(line.last_model), _WIDTHS["model"])),
            "seen": Text("" if looked_at is None else _age(line.last_seen, looked_at), justify="right"),
        }


def _key_under_cursor(table: Users) -> str | None:
    if not table.is_valid_row_index(table.cursor_row):
        return None
    return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value


def _title(name: str, *, is_number: bool) -> Text:
    return Text(name, justify="right" if is_number else "left")


def _figure(amount: Decimal, style: str = "") -> Text:
    return Text(f"{amount:,.3f}", justify="right", style=style)


def _event_cells(event: FeedEvent) -> list[Text]:
    amount = "" if event.credits is None else f"{event.credits:+f}" if event.is_act else f"{event.credits:f}"
    what = f"{event.kind} by {event.actor}" if event.is_act else event.action_type
    tokens = "" if event.is_act else f"{event.input_tokens:,}+{event.output_tokens:,}"
    if not event.is_act and not (event.input_tokens or event.output_tokens):
        tokens = "" if event.quantity is None else f"x {event.quantity:f}"
    balance = "" if event.balance_after is None else f"{event.balance_after:f}"
    return [
        Text(f"{event.recorded_at:%Y-%m-%d %H:%M:%S}"),
        Text(fitted(plain(what), 20)),
        Text(fitted(plain(event.model), 18)),
        *(Text(figure, justify="right") for figure in (tokens, amount, balance)),
    ]


def _age(then: datetime | None, now: datetime) -> str:
    """Return how long ago an instant was, in one unit."""
    if then is None:
        return ""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
