"""The first page: what was used, by what and by whom; and the events, at the end of each way down.

A bar of days leads to its hours, one of hours to its events, with the same filters.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.report_rows import UsagePoint
from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import address, page
from groat_server.http.dashboard.view import View
from groat_server.http.dashboard.window import Window, WindowQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.operations.reports import run_report, run_together

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from groat_server.operations.ledger import Ledger

router = page_router()

Group = Literal["action", "model", "user"]
Metric = Literal["credits", "events", "api_cost_dollars"]
_UNITS: Mapping[Metric, str] = {"credits": "credits", "events": "events", "api_cost_dollars": "USD"}
_NAMELESS: Mapping[Group, str] = {"action": "", "model": "no model", "user": ""}
_TOP = 10

Part = Literal["chart", "models", "people", "active"]
_PARTS: frozenset[Part] = frozenset(get_args(Part))
_PEOPLE: frozenset[Part] = frozenset({"people"})


class UsageQuery(WindowQuery):
    """What of the window, by what, told apart how."""

    group: Group = "action"
    metric: Metric = "credits"


class Asked:
    """What a request for usage comes to: its window, and what each report of the page is asked."""

    def __init__(self, request: Request, query: UsageQuery) -> None:
        view = View(request)
        self.query = query
        self.window = query.window(view.zone, datetime.now(UTC))
        self.filters = {"action_type": query.action_type, "model": query.model, "user": query.user}
        self.totals = self._of(self.window, view.zone_name)
        self.parts = {**self.totals, "bucket": self.window.bucket, "group": query.group}
        self.whole = {**self.totals, "bucket": "all", "series": _TOP}
        self.by_model = {**self.whole, "group": "model"}
        self.previous = {**self._of(self.window.previous, view.zone_name), "bucket": "all", "series": _TOP}

    def report_of(self, part: Part) -> tuple[str, Mapping[str, Any]]:
        """Return the report that a part of the page shows, and what it is asked."""
        match part:
            case "chart":
                return "usage", self.parts
            case "models":
                return "usage", self.by_model
            case "people":
                return "usage", {**self.whole, "group": "user"}
            case "active":
                return "usage-totals", self.totals

    def _of(self, window: Window, zone_name: str) -> dict[str, Any]:
        return {"from": window.start, "to": window.end, "time_zone": zone_name, **self.filters}

    @property
    def later(self) -> frozenset[Part]:
        """The parts that would keep the page waiting: it asks for them itself, once it is there.

        There are no roll-ups by user and action or model, so these are read from the events; and how many were active
        takes a look at each user.
        """
        of_everybody = self.query.user is None
        is_filtered = self.query.action_type is not None or self.query.model is not None
        later: set[Part] = set()
        if is_filtered or of_everybody:
            later.add("active")
        if is_filtered:
            later.add("people")
        if not of_everybody:
            later.add("models")
        if (self.query.group == "user" and "people" in later) or (self.query.group == "model" and "models" in later):
            later.add("chart")
        return frozenset(later)


@router.get("/ui/usage")
async def usage(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the usage of a window."""
    asked = Asked(request, query)
    quick = sorted(_PARTS - asked.later - _PEOPLE)
    (current, previous, by_action, *others), people = await asyncio.gather(
        run_together(
            ledger,
            ("usage", asked.whole),
            ("usage", asked.previous),
            ("usage", {**asked.whole, "group": "action"}),
            *map(asked.report_of, quick),
        ),
        _read(ledger, asked, _PEOPLE - asked.later),  # takes as long as all the others
    )
    return page(
        request,
        "usage.html",
        asked=asked,
        totals=(_one(current, asked.window), _one(previous, asked.window)),
        by_action=by_action,
        is_later=False,
        **_shown(asked, {**dict(zip(quick, others, strict=True)), **people}),
    )


@router.get("/ui/usage/later")
async def later(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the parts that take long: to the page as what takes their places, to a person as a page."""
    asked = Asked(request, query)
    is_later = "hx-request" in request.headers
    parts = _shown(asked, await _read(ledger, asked, asked.later))
    template = "usage_later.html" if is_later else "usage_alone.html"
    return page(request, template, asked=asked, is_later=is_later, **parts)


async def _read(ledger: Ledger, asked: Asked, parts: Collection[Part]) -> dict[Part, Any]:
    """Return the rows of the reports that these parts show."""
    rows = await asyncio.gather(*(run_report(ledger, name, **given) for name, given in map(asked.report_of, parts)))
    return dict(zip(parts, rows, strict=True))


def _shown(asked: Asked, rows: Mapping[Part, Any]) -> dict[str, Any]:
    """Return each part as its template takes it; None where it is not there."""
    shown: dict[str, Any] = {part: rows.get(part) for part in _PARTS}
    if shown["chart"] is not None:
        shown["chart"] = _drawn(asked.window, asked.query, shown["chart"])
    return shown


def _one(rows: Sequence[UsagePoint], window: Window) -> UsagePoint:
    zero = Decimal(0)
    return (
        rows[0]
        if rows
        else UsagePoint(
            window.start,
            None,
            is_other=False,
            events=0,
            credits=zero,
            refunded_credits=zero,
            net_credits=zero,
            api_cost_dollars=zero,
        )
    )


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the chart: what it is called, where it leads, and what each series has of it."""

    label: str
    link: str
    values: Sequence[Decimal | int]


@dataclass(frozen=True, slots=True)
class Bars:
    """A stacked chart, and the same to be read as a table."""

    drawing: Mapping[str, object]
    names: Sequence[str]
    bars: Sequence[Bar]
    unit: str


def _drawn(window: Window, query: UsageQuery, parts: Sequence[UsagePoint]) -> Bars:
    """Return what the parts of a window come to on paper: gaps filled, the other series last."""
    found: dict[tuple[bool, str], dict[datetime | date, Decimal | int]] = defaultdict(dict)
    for part in parts:
        name = "Other" if part.is_other else part.series or _NAMELESS[query.group]
        found[part.is_other, name][window.key(part.bucket)] = getattr(part, query.metric)
    series = sorted(found.items(), key=lambda item: (item[0][0], -sum(item[1].values())))
    bars = [
        Bar(
            _label(start, window),
            _way_down(query, window, start, end),
            [values.get(window.key(start), Decimal(0)) for _, values in series],
        )
        for start, end in window.buckets()
    ]
    drawing = {
        "kind": "stack",
        "unit": _UNITS[query.metric],
        "buckets": [bar.label for bar in bars],
        "links": [bar.link for bar in bars],
        "series": [
            {"name": name, "other": is_other, "values": [float(bar.values[number]) for bar in bars]}
            for number, ((is_other, name), _) in enumerate(series)
        ],
    }
    return Bars(drawing, [name for (_, name), _ in series], bars, _UNITS[query.metric])


def _label(start: datetime, window: Window) -> str:
    local = start.astimezone(window.zone)
    return f"{local:%m-%d %H:%M}" if window.bucket == "hour" else f"{local:%Y-%m-%d}"


def _way_down(query: UsageQuery, window: Window, start: datetime, end: datetime) -> str:
    """Return where a bar leads: a day to its hours, an hour to its events."""
    filters = query.model_dump(include={"action_type", "model", "user", "tz"})
    if window.bucket == "hour":
        return address("/ui/events", **{"from": start, "to": end}, **filters)
    return address("/ui/usage", **{"from": start, "to": end}, group=query.group, metric=query.metric, **filters)
