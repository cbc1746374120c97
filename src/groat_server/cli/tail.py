"""`groat tail`."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sys
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from groat_server.cli.live.plain import fitted, plain
from groat_server.cli.output import TABLE, Output, json_text
from groat_server.cli.session import called, checked, on_ledger
from groat_server.core.cells import csv_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from groat_server.core.feed_rows import FeedEvent, FeedFilter
    from groat_server.operations.feed import Feed
    from groat_server.operations.ledger import Ledger
    from groat_server.operations.users import UserName

_LAST = 20
_LAST_MAX = 1_000
_TROUBLE_SECONDS = 2.0  # how often it is asked whether the ledger can still be read
_WIDTH_LEAST = 60
_WIDTH_OF_DATES = 120
_PIPE_WIDTH = 160
_DIM, _BOLD, _PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"


def tail(
    *,
    last: Annotated[int, Parameter(name=["--last", "-n"], help="How many past events come first, up to 1000.")] = _LAST,
    follow: Annotated[
        bool, Parameter(name=["--follow", "-f"], negative="", help="Go on until interrupted, which exits with 130.")
    ] = False,
    user: Annotated[str | None, Parameter(help="Whose: an id, an e-mail address, or external:ID.")] = None,
    action: Annotated[str | None, Parameter(help="Only charges of this action type.")] = None,
    model: Annotated[str | None, Parameter(help="Only charges of this model.")] = None,
    output: Output = TABLE,
) -> None:
    """Show what was booked last, oldest first, a line each: charges, grants, adjustments, refunds and voids.

    With --json a line is one JSON object, with --csv a row. Times are UTC. Where more is booked than can be shown, what
    was passed over is counted on standard error.
    """
    from groat_server.errors import Unprocessable
    from groat_server.operations.feed import Feed

    if not 0 <= last <= _LAST_MAX:
        raise Unprocessable(f"--last takes 0 to {_LAST_MAX}.")
    name = None if user is None else called(user)
    action, model = _checked_names(action, model)
    write = _writer(output)

    async def run(ledger: Ledger) -> None:
        wanted = await _filter(ledger, name, action, model)
        feed = Feed(ledger)
        try:
            if follow:
                await _follow(feed, wanted, last, write)
            elif last > 0:
                write(await feed.newest(wanted, last))
        finally:
            await feed.close()

    on_ledger(run)


def _checked_names(action: str | None, model: str | None) -> tuple[str | None, str | None]:
    """Return both under the rules of the HTTP interface. Raises Unprocessable."""
    from groat_server.http.admin_reports import ReportParameters

    given = checked(ReportParameters, {"action_type": action, "model": model})
    return given.action_type, given.model


async def _filter(ledger: Ledger, user: UserName | None, action: str | None, model: str | None) -> FeedFilter:
    from groat_server.core.feed_rows import FeedFilter
    from groat_server.operations.users import find_user

    user_id = None if user is None else await find_user(ledger, user)
    return FeedFilter(user_id=user_id, action_type=action, model=model)


async def _follow(feed: Feed, wanted: FeedFilter, last: int, write: Callable[[Iterable[FeedEvent]], None]) -> None:
    told: str | None = None
    async with feed.subscribe(wanted, last=last) as subscription:
        while True:
            batch = await subscription.batch(_TROUBLE_SECONDS)
            if feed.trouble != told:
                told = feed.trouble
                _complain(told or "The ledger can be read again.")
            if batch is not None:
                if batch.skipped:
                    _complain(f"{batch.skipped:,} events were passed over")
                write(batch.events)


def _complain(text: str) -> None:
    print(f"groat: {text}", file=sys.stderr, flush=True)


def _writer(output: Output) -> Callable[[Iterable[FeedEvent]], None]:
    """Return what prints events in the form that was asked for, each line as it is there."""
    if output.json:
        return lambda events: _print(map(_json_line, events))
    if output.csv:
        print(_csv_line(_columns()), flush=True)
        on_terminal = sys.stdout.isatty()
        return lambda events: _print(_csv_line(_csv_cells(event, shown=on_terminal)) for event in events)
    on_terminal = sys.stdout.isatty()
    has_colour = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def write(events: Iterable[FeedEvent]) -> None:
        width = max(_WIDTH_LEAST, shutil.get_terminal_size().columns) if on_terminal else _PIPE_WIDTH
        _print(line(event, width, crop=on_terminal, colour=has_colour) for event in events)

    return write


def _print(lines: Iterable[str]) -> None:
    for each in lines:
        print(each, flush=True)


def line(event: FeedEvent, width: int, *, crop: bool, colour: bool) -> str:
    """Return an event as a line of a terminal `width` cells wide; without `crop` nothing is cut."""
    when = _when(event.recorded_at, whole=not crop or width >= _WIDTH_OF_DATES)
    if event.is_act:
        action, model = event.kind, f"by {plain(event.actor)}"
        amount = "" if event.credits is None else f"{event.credits:+f}"
    else:
        action, model = plain(event.action_type), plain(event.model)
        amount = f"{event.credits:f}"
    used = _used(event)
    balance = "" if event.balance_after is None else f"{event.balance_after:f}"
    # Time and figures are shown whole; what is left of the line is for the names.
    figures = f"{used:>15}  {amount:>10}  {balance:>12}"
    names = max(width - len(when) - len(figures) - 2 * 4, 24)
    email = fitted(plain(event.email) or f"user {event.user_id}", names * 2 // 5, crop=crop)
    what = fitted(action, names * 3 // 10, crop=crop)
    by = fitted(model, names * 3 // 10, crop=crop)
    if not colour:
        return f"{when}  {email}  {what}  {by}  {figures}".rstrip()
    shown = f"{used:>15}  {_BOLD}{amount:>10}{_PLAIN}  {balance:>12}"
    return f"{_DIM}{when}{_PLAIN}  {email}  {what}  {_DIM}{by}{_PLAIN}  {shown}"


def _when(instant: datetime, *, whole: bool) -> str:
    """Return an instant; where there is no room for all of it, its time or, of another day than today, its date."""
    if whole:
        return f"{instant:%Y-%m-%d %H:%M:%S}"
    return f"{instant:%H:%M:%S}" if instant.date() == datetime.now(UTC).date() else f"{instant:%b %d}  "


def _used(event: FeedEvent) -> str:
    if event.is_act:
        return "" if event.event_id is None else f"event {event.event_id}"
    if event.input_tokens or event.output_tokens:
        return f"{event.input_tokens:,}+{event.output_tokens:,}"
    return "" if event.quantity is None else f"x {event.quantity:f}"


def _columns() -> list[str]:
    from groat_server.core.feed_rows import FeedEvent

    return [field.name for field in fields(FeedEvent)]


def _json_line(event: FeedEvent) -> str:
    text = json_text({name: getattr(event, name) for name in _columns()})
    # JSON may hold these as they are, and a terminal would obey them.
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _csv_cells(event: FeedEvent, *, shown: bool) -> list[str]:
    cells = [csv_cell(getattr(event, name)) for name in _columns()]
    return [plain(cell) for cell in cells] if shown else cells


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
