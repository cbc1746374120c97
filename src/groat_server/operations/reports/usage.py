"""Reports on usage: what was used in a window, by action type, model, user and time, and the events themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from groat_server.core.report_rows import (
    Anomaly,
    HourUsage,
    ListedEvent,
    ModelMargin,
    ModelUsage,
    UnpricedModel,
    UsageEvent,
    UsagePoint,
    UsageTotal,
)
from groat_server.core.rows import ActionUsage, ActivityRow, Consumer, CostValidation, DayUsage, OverviewRow, QuickStat
from groat_server.operations.reports.definition import (
    ACTION_TYPE,
    AS_OF,
    BUCKET,
    BUCKETS_MAX,
    DAYS,
    FACTOR,
    FROM,
    GROUP,
    MODEL,
    ONLY,
    SERIES,
    TIME_ZONE,
    TO,
    WINDOW,
    Report,
    limited,
    rolled_up,
)
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

_SINCE = replace(
    FROM,
    description="The window has the hours that begin then or later; null: 30 days up to its end, or 2 by the hour.",
)
_UNTIL = replace(TO, description="The window has the hours that begin before then; null: up to the present one.")
_HOURS = (_SINCE, _UNTIL)

EVENTS = Report(
    "Events, newest first",
    Statement("reports/events", ListedEvent),
    (replace(FROM, description="The first instant of the window; null: no beginning."), TO, *ONLY, limited(50)),
    Statement("rollups/events", ListedEvent),
    of_users=Statement("rollups/events_of_user", ListedEvent),
    rolled_up_for=(ACTION_TYPE, MODEL),
    paging={"after_timestamp": None, "after_id": None},
)

USAGE: Mapping[str, Report] = {
    "usage": Report(
        "Usage of a window, by bucket and series",
        Statement("reports/usage", UsagePoint),
        (*_HOURS, BUCKET, TIME_ZONE, GROUP, SERIES, *ONLY),
        Statement("rollups/usage", UsagePoint),
        of_users=Statement("rollups/usage_of_users", UsagePoint),
        by_user=Statement("rollups/usage_by_user", UsagePoint),
        buckets_max=BUCKETS_MAX,
    ),
    "usage-totals": Report(
        "Usage of a window, beside the window before",
        Statement("reports/usage_totals", UsageTotal),
        (*_HOURS, TIME_ZONE, *ONLY),
        Statement("rollups/usage_totals", UsageTotal),
        of_users=Statement("rollups/usage_totals_of_user", UsageTotal),
    ),
    "events": EVENTS,
    "margin": Report("Charges and their margin by model", Statement("reports/margin", ModelMargin), _HOURS),
    "unpriced-models": Report(
        "Models that were used without a price",
        Statement("reports/unpriced_models", UnpricedModel),
        (
            replace(FROM, description="The first instant of the window; null: 7 days before its end."),
            replace(TO, description="The end of the window, excluded; null: now."),
            limited(50),
        ),
    ),
    "anomalies": rolled_up("Users who use much more than they did", "anomalies", Anomaly, (FACTOR, AS_OF, limited(50))),
    "overview": rolled_up("Usage, in all and by action type", "overview", OverviewRow, WINDOW),
    "top-consumers": rolled_up("Top consumers", "top_consumers", Consumer, (*WINDOW, limited(20))),
    "daily-trend": rolled_up("Usage by day", "daily_trend", DayUsage, WINDOW),
    "usage-by-hour": rolled_up("Usage by hour", "usage_by_hour", HourUsage, (replace(DAYS, default=1), AS_OF)),
    "recent-activity": Report("Recent activity", Statement("reports/recent_activity", ActivityRow), (limited(50),)),
    "usage-events": Report("All usage events", Statement("reports/usage_events", UsageEvent), (*WINDOW, limited(50))),
    "usage-by-action": rolled_up("Usage by action type", "usage_by_action", ActionUsage, WINDOW),
    "usage-by-model": rolled_up("Usage by model", "usage_by_model", ModelUsage, WINDOW),
    "unusual-activity": Report(
        "Events of more than one credit", Statement("reports/unusual_activity", ActivityRow), (limited(20),)
    ),
    "cost-validation": Report(
        "Charges against API costs", Statement("reports/cost_validation", CostValidation), WINDOW
    ),
    "quick-stats": rolled_up("Quick stats", "quick_stats", QuickStat, (AS_OF,)),
}
