"""Reports on usage: what was used in a window, by action type, model, user and time, and the events themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from groat_server.core.report_rows import HourUsage, ModelUsage, UsageEvent
from groat_server.core.rows import ActionUsage, ActivityRow, Consumer, CostValidation, DayUsage, OverviewRow, QuickStat
from groat_server.operations.reports.definition import AS_OF, DAYS, WINDOW, Report, limited, rolled_up
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE: Mapping[str, Report] = {
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
