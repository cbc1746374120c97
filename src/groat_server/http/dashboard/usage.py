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

from groat_server.http.dashboard.access import page_router
from groat_server.http.dashboard.pages import address, page
from groat_server.http.dashboard.view import View
from groat_server.http.dashboard.window import Window, WindowQuery
from groat_server.http.dependencies import LedgerOf
from groat_server.operations.reports import run_report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from groat_server.core.report_rows import UsagePoint

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


@router.get("/ui/usage")
async def usage(request: Request, query: Annotated[UsageQuery, Query()], ledger: LedgerOf) -> Response:
    """Show the usage of a window."""
    view = View(request)
    window = query.window(view.zone, datetime.now(UTC))
    filters = {"action_type": query.action_type, "model": query.model, "user": query.user}
    asked: dict[str, Any] = {"from": window.start, "to": window.end, "time_zone": view.zone_name, **filters}
    by_bucket: dict[str, Any] = {**asked, "bucket": window.bucket, "group": query.group}
    whole: dict[str, Any] = {**asked, "bucket": "all", "series": _TOP}
    groups: tuple[Group, ...] = ("user", "action", "model")
    parts, totals, *tops = await asyncio.gather(
        run_report(ledger, "usage", **by_bucket),
        run_report(ledger, "usage-totals", **asked),
        *(run_report(ledger, "usage", **whole, group=group) for group in groups),
    )
    current, previous = totals
    return page(
        request,
        "usage.html",
        query=query,
        window=window,
        filters=filters,
        asked=asked,
        by_bucket=by_bucket,
        whole=whole,
        current=current,
        previous=previous,
        tops=dict(zip(groups, tops, strict=True)),
        bars=_bars(window, query, parts),
        unit=_UNITS[query.metric],
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

    chart: Mapping[str, object]
    names: Sequence[str]
    bars: Sequence[Bar]


def _bars(window: Window, query: UsageQuery, parts: Sequence[UsagePoint]) -> Bars:
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
    return Bars(chart, [name for (_, name), _ in series], bars)


def _label(start: datetime, window: Window) -> str:
    local = start.astimezone(window.zone)
    return f"{local:%m-%d %H:%M}" if window.bucket == "hour" else f"{local:%Y-%m-%d}"


def _way_down(query: UsageQuery, window: Window, start: datetime, end: datetime) -> str:
    """Return where a bar leads: a day to its hours, an hour to its events."""
    filters = query.model_dump(include={"action_type", "model", "user", "tz"})
    if window.bucket == "hour":
        return address("/ui/events", **{"from": start, "to": end}, **filters)
    return address("/ui/usage", **{"from": start, "to": end}, group=query.group, metric=query.metric, **filters)
