"""The dashboard: panels over the service's figures and over the views, of sources that are chosen when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Kind = Literal["timeseries", "stat", "barchart", "table", "bargauge"]

_WIDTH = 24
_JOB = 'job="$job"'
_FIGURES = {"type": "prometheus", "uid": "${metrics}"}
_LEDGER = {"type": "grafana-postgresql-datasource", "uid": "${ledger}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel: what it asks of Prometheus, by legend, or what it asks of the ledger's views."""

    title: str
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    unit: str = "short"
    description: str = ""
    figures: tuple[tuple[str, str], ...] = ()
    sql: str | None = None
    is_stacked: bool = False


def _quantile(histogram: str, share: str) -> str:
    """Return what is asked to know which seconds such a share of all takes at most."""
    return f"histogram_quantile({share}, sum by (le) (rate({histogram}_bucket{{{_JOB}}}[$__rate_interval])))"


USAGE: Sequence[Panel] = (
    Panel(
        title="Credits used",
        kind="stat", width=6, height=4,
        sql="SELECT coalesce(sum(credits), 0) AS credits FROM v_usage_hourly WHERE $__timeFilter(hour)",
    ),
    Panel(
        title="API cost",
        kind="stat", width=6, height=4, unit="currencyUSD",
        sql="SELECT coalesce(sum(api_cost_dollars), 0) AS dollars FROM v_usage_hourly WHERE $__timeFilter(hour)",
    ),
    Panel(
        title="Events",
        kind="stat", width=6, height=4,
        sql="SELECT coalesce(sum(events), 0) AS events FROM v_usage_hourly WHERE $__timeFilter(hour)",
    ),
    Panel(
        title="Users with usage",
        kind="stat", width=6, height=4,
        sql="SELECT count(DISTINCT user_id) AS users FROM v_user_usage_daily"
        " WHERE day BETWEEN CAST($__timeFrom() AS date) AND CAST($__timeTo() AS date)",
    ),
    Panel(
        title="Credits by action type",
        width=12, is_stacked=True,
        sql="SELECT hour AS time, action_type AS metric, sum(credits) AS credits FROM v_usage_hourly"
        " WHERE $__timeFilter(hour) GROUP BY hour, action_type ORDER BY hour",
    ),
    Panel(
        title="Credits by model",
        width=12, is_stacked=True,
        sql="SELECT hour AS time, coalesce(model, 'no model') AS metric, sum(credits) AS credits FROM v_usage_hourly"
        " WHERE $__timeFilter(hour) GROUP BY hour, model ORDER BY hour",
    ),
    Panel(
        title="Top consumers",
        kind="table", width=12,
        sql="SELECT email, sum(credits) AS credits, sum(events) AS events, sum(api_cost_dollars) AS api_cost_dollars"
        " FROM v_user_usage_daily WHERE day BETWEEN CAST($__timeFrom() AS date) AND CAST($__timeTo() AS date)"
        " GROUP BY user_id, email ORDER BY credits DESC LIMIT 20",
    ),
    Panel(
        title="Least left",
        kind="table", width=12,
        description="Who can be charged least before the next reset.",
        sql="SELECT email, available, balance, held, monthly_allowance, next_reset_at FROM v_user_balances"
        " WHERE balance IS NOT NULL AND anonymised_at IS NULL ORDER BY available, user_id LIMIT 20",
    ),
)  # fmt: skip

BOOKS: Sequence[Panel] = (
    Panel(
        title="Credits given and taken",
        kind="barchart", width=12,
        sql="SELECT kind, sum(amount) AS credits FROM v_ledger_entries WHERE $__timeFilter(recorded_at)"
        " GROUP BY kind ORDER BY kind",
    ),
    Panel(
        title="Credits left, by kind of lot",
        kind="bargauge", width=6,
        sql="SELECT kind AS metric, sum(remaining) AS credits FROM v_lots"
        " WHERE starts_at <= now() AND (expires_at IS NULL OR expires_at > now()) GROUP BY kind ORDER BY kind",
    ),
    Panel(
        title="Holds by state",
        kind="bargauge", width=6,
        sql="SELECT state AS metric, count(*) AS holds FROM v_holds WHERE $__timeFilter(created_at)"
        " GROUP BY state ORDER BY state",
    ),
    Panel(
        title="Newest events",
        kind="table", width=12,
        sql="SELECT created_at, email, action_type, model, credits, balance_after FROM v_usage_events"
        " WHERE $__timeFilter(created_at) ORDER BY created_at DESC, id DESC LIMIT 50",
    ),
    Panel(
        title="Newest prices that were set by hand",
        kind="table", width=12,
        sql="SELECT recorded_at, kind, name, provider, rates, note FROM v_price_versions WHERE source = 'override'"
        " ORDER BY id DESC LIMIT 20",
    ),
)  # fmt: skip

SERVICE: Sequence[Panel] = (
    Panel(
        title="Charges by outcome", unit="ops", is_stacked=True,
        figures=((f"sum by (outcome) (rate(groat_charges_total{{{_JOB}}}[$__rate_interval])) > 0", "{{outcome}}"),),
    ),
    Panel(
        title="Requests", unit="reqps", is_stacked=True,
        figures=(
            (f"sum by (status) (rate(groat_http_request_seconds_count{{{_JOB}}}[$__rate_interval]))", "{{status}}"),
        ),
    ),
    Panel(
        title="How long requests take", unit="s",
        figures=tuple(
            (_quantile("groat_http_request_seconds", share), legend)
            for share, legend in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
        ),
    ),
    Panel(
        title="How long a batch takes to commit", unit="s",
        figures=tuple(
            (_quantile("groat_batcher_commit_seconds", share), legend)
            for share, legend in (("0.5", "p50"), ("0.99", "p99"))
        ),
    ),
    Panel(
        title="Charges in a batch",
        figures=(
            (
                (
                    f"sum(rate(groat_batcher_batch_charges_sum{{{_JOB}}}[$__rate_interval]))"
                    f" / sum(rate(groat_batcher_batch_charges_count{{{_JOB}}}[$__rate_interval]))"
                ),
                "mean",
            ),
        ),
    ),
    Panel(
        title="Charges that wait, and that were refused",
        figures=(
            (f"sum(groat_batcher_queue_charges{{{_JOB}}})", "wait"),
            (f"sum(increase(groat_batcher_refused_charges_total{{{_JOB}}}[$__rate_interval]))", "refused"),
        ),
    ),
    Panel(
        title="Since the newest event", kind="stat", width=6, height=4, unit="s",
        figures=((f"min(groat_last_event_age_seconds{{{_JOB}}})", "age"),),
    ),
    Panel(
        title="Findings of checks", kind="stat", width=6, height=4,
        figures=((f"sum(max by (check) (groat_check_findings{{{_JOB}}}))", "findings"),),
    ),
    Panel(
        title="Overdue resets, users without a balance", kind="stat", width=6, height=4,
        figures=(
            (f"max(groat_overdue_resets{{{_JOB}}})", "resets"),
            (f"max(groat_users_without_balance{{{_JOB}}})", "users"),
        ),
    ),
    Panel(
        title="Open holds, credits held", kind="stat", width=6, height=4,
        figures=((f"max(groat_open_holds{{{_JOB}}})", "holds"), (f"max(groat_held_credits{{{_JOB}}})", "credits")),
    ),
    Panel(
        title="Checks with findings", kind="table", width=12,
        figures=((f"max by (check) (groat_check_findings{{{_JOB}}}) > 0", "{{check}}"),),
    ),
    Panel(
        title="Since the last round of checks", kind="stat", width=12, unit="s",
        figures=((f"time() - max(groat_check_last_run_timestamp{{{_JOB}}} > 0)", "age"),),
    ),
)  # fmt: skip

ROWS: Sequence[tuple[str, Sequence[Panel]]] = (("Usage", USAGE), ("Books", BOOKS), ("Service", SERVICE))


def dashboard(*, service: str) -> dict[str, Any]:
    """Return the dashboard as Grafana imports it; `service` is what Prometheus calls the service at first."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, of_row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": _WIDTH, "x": 0, "y": top},
                "panels": [],
            }
        )
        top += 1
        left = tallest = 0
        for panel in of_row:
            if left + panel.width > _WIDTH:
                top, left, tallest = top + tallest, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            panels.append(_panel(panel, len(panels) + 1, place))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return {
        "uid": "groat",
        "title": "Groat",
        "description": "Usage, books and service of Groat. Made by `groat grafana export`.",
        "tags": ["groat"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "time": {"from": "now-7d", "to": "now"},
        "refresh": "1m",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_source("metrics", "Figures", "prometheus"), *_variables(service)]},
        "panels": panels,
    }


def _source(name: str, label: str, kind: str) -> dict[str, Any]:
    return {"name": name, "label": label, "type": "datasource", "query": kind, "current": {}, "hide": 0, "refresh": 1}


def _variables(service: str) -> list[dict[str, Any]]:
    return [
        _source("ledger", "Ledger", str(_LEDGER["type"])),
        {
            "name": "job",
            "label": "Service",
            "type": "query",
            "datasource": _FIGURES,
            "query": {"query": "label_values(groat_charges_total, job)", "refId": "job"},
            "current": {"text": service, "value": service},
            "refresh": 1,
            "hide": 0,
            "includeAll": False,
            "multi": False,
        },
    ]


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40} if panel.is_stacked else {}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": place,
        "datasource": _LEDGER if panel.sql is not None else _FIGURES,
        "targets": _targets(panel),
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": custom}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"], "values": panel.kind == "bargauge", "fields": ""}}
        if panel.kind in {"stat", "bargauge"}
        else {},
    }


def _targets(panel: Panel) -> list[dict[str, Any]]:
    if panel.sql is not None:
        # Grafana draws one line for each value of `metric`.
        form = "time_series" if panel.kind == "timeseries" else "table"
        query = {"datasource": _LEDGER, "rawQuery": True, "editorMode": "code", "format": form, "rawSql": panel.sql}
        return [{"refId": "A", **query}]
    is_now = panel.kind in {"stat", "table"}
    return [
        {
            "refId": chr(ord("A") + number),
            "datasource": _FIGURES,
            "expr": expression,
            "legendFormat": legend,
            "instant": is_now,
            "range": not is_now,
            "format": "table" if panel.kind == "table" else "time_series",
        }
        for number, (expression, legend) in enumerate(panel.figures)
    ]
