"""The first page: what was used, by what and by whom; and the events, at the end of each way down.

A bar of days leads to its hours, one of hours to its events, with the same filters.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
    from collections.abc import Mapping, Sequence

    from groat_server.operations.ledger import Ledger

router = page_router()

Group = Literal["action", "model", "user"]
Metric = Literal["credits", "events", "api_cost_dollars"]
_UNITS: Mapping[Metric, str] = {"credits": "credits", "events": "events", "api_cost_dollars": "USD"}
_NAMELESS: Mapping[Group, str] = {"action": "", "model": "no model", "user": ""}
_TOP = 10


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

    def _of(self, window: Window, zone_name: str) -> dict[str, Any]:
        return {"from": window.start, "to": window.end, "time_zone": zone_name, **self.filters}

    @property
    def people_take_long(self) -> bool:
        """Whether who used it must be read from the events: there are no roll-ups by user and action or model."""
        return self.query.action_type is not None or self.query.model is not None

    @property
    def bars_take_long(self) -> bool:
        """Whether the chart must be read from the events."""
        by = self.query.group
        return (self.people_take_long and by == "user") or (self.models_take_long and by == "model")

    @property
    def models_take_long(self) -> bool:
        """Whether its models must be read from the events: there are no roll-ups by user and model."""
        return self.query.user is not None


@router.get("/ui/usage")
async def usage(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the usage of a window. What would keep the page waiting is asked for by the page itself."""
    asked = Asked(request, query)
    quick = [
        ("usage", asked.whole),
        ("usage", asked.previous),
        ("usage", {**asked.whole, "group": "action"}),
        *([] if asked.models_take_long else [("usage", asked.by_model)]),
        *([] if asked.bars_take_long else [("usage", asked.parts)]),
    ]
    (current, previous, by_action, *more), people = await asyncio.gather(
        run_together(ledger, *quick), _nothing() if asked.people_take_long else _people(ledger, asked)
    )
    by_model = None if asked.models_take_long else more.pop(0)
    return page(
        request,
        "usage.html",
        asked=asked,
        totals=(_one(current, asked.window), _one(previous, asked.window)),
        by_action=by_action,
        by_model=by_model,
        bars=None if asked.bars_take_long else _drawn(asked.window, asked.query, more.pop()),
        people=people,
    )


@router.get("/ui/usage/chart")
async def chart(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the chart alone."""
    asked = Asked(request, query)
    parts = await run_report(ledger, "usage", **asked.parts)
    return _part(request, "usage_chart.html", asked=asked, bars=_drawn(asked.window, query, parts))


@router.get("/ui/usage/models")
async def models(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show alone which models were used."""
    asked = Asked(request, query)
    rows = await run_report(ledger, "usage", **asked.by_model)
    return _part(request, "usage_models.html", asked=asked, by_model=rows)


@router.get("/ui/usage/people")
async def people(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show alone who used it, and how many they are."""
    asked = Asked(request, query)
    return _part(request, "usage_people.html", asked=asked, people=await _people(ledger, asked), is_alone=True)


def _part(request: Request, template: str, **context: Any) -> Response:
    """Return a part of the page to the page that asks for it; to a person, as a page."""
    is_part = "hx-request" in request.headers
    return page(request, template if is_part else "usage_part.html", part=template, **context)


@dataclass(frozen=True, slots=True)
class People:
    """Who used it most, and how many did, now and in the window before."""

    top: Sequence[UsagePoint]
    active: int
    active_before: int


async def _people(ledger: Ledger, asked: Asked) -> People:
    (current, previous), top = await asyncio.gather(
        run_report(ledger, "usage-totals", **asked.totals),
        run_report(ledger, "usage", **asked.whole, group="user"),
    )
    return People(top, current.active_users, previous.active_users)


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


async def _nothing() -> None:
    """Return what is not there yet."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the chart: what it is called, where it leads, and what each series has of it."""

    label: str
    link: str
    values: Sequence[Decimal | int]


@dataclass(frozen=True, slots=True)
class Bars:
    """A stacked chart, and the same to be read as a table."""

    chart: Mapping[str, object]
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
    chart = {
        "kind": "stack",
        "unit": _UNITS[query.metric],
        "buckets": [bar.label for bar in bars],
        "links": [bar.link for bar in bars],
        "series": [
            {"name": name, "other": is_other, "values": [float(bar.values[number]) for bar in bars]}
            for number, ((is_other, name), _) in enumerate(series)
        ],
    }
    return Bars(chart, [name for (_, name), _ in series], bars, _UNITS[query.metric])


def _label(start: datetime, window: Window) -> str:
    local = start.astimezone(window.zone)
    return f"{local:%m-%d %H:%M}" if window.bucket == "hour" else f"{local:%Y-%m-%d}"


def _way_down(query: UsageQuery, window: Window, start: datetime, end: datetime) -> str:
    """Return where a bar leads: a day to its hours, an hour to its events."""
    filters = query.model_dump(include={"action_type", "model", "user", "tz"})
    if window.bucket == "hour":
        return address("/ui/events", **{"from": start, "to": end}, **filters)
    return address("/ui/usage", **{"from": start, "to": end}, group=query.group, metric=query.metric, **filters)
