"""When somebody should be told: one list of alerts, as rules of Prometheus and as rules of Grafana."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["critical", "warning"]

PROMETHEUS = "prometheus"
"""The uid that the source of figures is expected to have in Grafana."""


QUEUE_WARNING = 16_000
"""Charges in a process's queue that are nearly too many; it takes 20,000, or GROAT_QUEUE_CHARGES."""

CHECKS_LATE_SECONDS = 6 * 3600
TOLD_ELSEWHERE = "tracking_alive|no_unpriced_event|service_role|demo_untracked"
"""Checks that give notice of what may be meant, and those that have an alert of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something that is wrong while the expression returns anything, for as long as `lasting`."""

    name: str
    expression: str
    lasting: str
    severity: Severity
    summary: str
    advice: str

    @property
    def uid(self) -> str:
        """What Grafana calls it; the same from version to version."""
        return f"groat-{self.name}"


def alerts(*, service: str, quiet_minutes: int) -> tuple[Alert, ...]:
    """Return the alerts for what Prometheus calls `service`; without a charge for so long, something may be wrong."""
    of = f'job="{service}"'
    return (
        Alert(
            name="service-down",
            expression=f"up{{{of}}} == 0 or absent(up{{{of}}})",
            lasting="2m",
            severity="critical",
            summary="Groat does not answer",
            advice="See whether the process runs (/healthz) and what it lacks (/readyz).",
        ),
        Alert(
            name="no-charges",
            expression=(
                f"sum(increase(groat_charges_total{{{of}}}[{quiet_minutes}m])) == 0 and on() max(up{{{of}}}) == 1"
            ),
            lasting="5m",
            severity="warning",
            summary=f"Nothing was charged for {quiet_minutes} minutes while the service is up",
            advice="See whether the application still calls Groat; a quiet night is no fault.",
        ),
        Alert(
            name="queue-nearly-full",
            expression=f"max by (instance) (groat_batcher_queue_charges{{{of}}}) > {QUEUE_WARNING}",
            lasting="1m",
            severity="warning",
            summary="Many charges wait to be written",
            advice="See how long the database takes to commit, and whether somebody keeps balances locked.",
        ),
        Alert(
            name="charges-refused",
            expression=f"sum(increase(groat_batcher_refused_charges_total{{{of}}}[5m])) > 0",
            lasting="0s",
            severity="critical",
            summary="Charges were not taken",
            advice="The queue was full, or a service ended with charges waiting. Callers repeat them under their keys.",
        ),
        Alert(
            name="check-failing",
            expression=f'max by (check) (groat_check_findings{{{of},check!~"{TOLD_ELSEWHERE}"}}) > 0',
            lasting="0s",
            severity="critical",
            summary="A check of the books has findings: {{ $labels.check }}",
            advice="Run `groat check {{ $labels.check }}`: nothing is repaired by itself.",
        ),
        Alert(
            name="checks-not-run",
            expression=(
                f"time() - max(groat_check_last_run_timestamp{{{of}}} > 0) > {CHECKS_LATE_SECONDS}"
                f" or max by (check) (groat_check_findings{{{of}}}) != max by (check) (groat_check_findings{{{of}}})"
            ),
            lasting="10m",
            severity="warning",
            summary="The books were not checked",
            advice="See the log for the check that could not be run.",
        ),
        Alert(
            name="sweeper-late",
            expression=f"max(groat_overdue_resets{{{of}}}) > 0",
            lasting="5m",
            severity="critical",
            summary="Resets are over five minutes late",
            advice="See whether a service runs that sweeps, and what is in its log.",
        ),
        Alert(
            name="users-without-balance",
            expression=f"max(groat_users_without_balance{{{of}}}) > 0",
            lasting="5m",
            severity="critical",
            summary="Users outside demo mode have no balance",
            advice="Run `groat check balances_initialised`.",
        ),
        Alert(
            name="demo-leak",
            expression=f'max(groat_check_findings{{{of},check="demo_untracked"}}) > 0',
            lasting="0s",
            severity="critical",
            summary="A user in demo mode is in the books",
            advice="Run `groat check demo_untracked`.",
        ),
        Alert(
            name="unpriced-events",
            expression=f'max(groat_check_findings{{{of},check="no_unpriced_event"}}) > 0',
            lasting="0s",
            severity="warning",
            summary="Uses were charged nothing because nobody knows their price",
            advice="Run `groat check no_unpriced_event`, then set the prices that lack: `groat price set`.",
        ),
        Alert(
            name="slow-answers",
            expression=(
                "histogram_quantile(0.99, sum by (le)"
                f' (rate(groat_http_request_seconds_bucket{{{of},status="2xx"}}[5m]))) > 1'
            ),
            lasting="10m",
            severity="warning",
            summary="One request in a hundred takes over a second",
            advice="See groat_batcher_commit_seconds and the database's load.",
        ),
        Alert(
            name="errors",
            expression=(
                f'sum(rate(groat_http_request_seconds_count{{{of},status="5xx"}}[5m]))'
                f" / sum(rate(groat_http_request_seconds_count{{{of}}}[5m])) > 0.01"
            ),
            lasting="5m",
            severity="critical",
            summary="Over one request in a hundred fails on our side",
            advice="See the log by request_id, and /readyz.",
        ),
    )


def prometheus_rules(found: tuple[Alert, ...]) -> dict[str, Any]:
    """Return a file of rules for Prometheus."""
    rules = [
        {
            "alert": f"Groat{alert.name.title().replace('-', '')}",
            "expr": alert.expression,
            "for": alert.lasting,
            "labels": {"severity": alert.severity, "service": "groat"},
            "annotations": {"summary": alert.summary, "description": alert.advice},
        }
        for alert in found
    ]
    return {"groups": [{"name": "groat", "rules": rules}]}


def grafana_rules(found: tuple[Alert, ...]) -> dict[str, Any]:
    """Return a file by which Grafana is provisioned with the alerts: the query, then whether it returns anything."""
    return {
        "apiVersion": 1,
        "groups": [
            {
                "orgId": 1,
                "name": "groat",
                "folder": "Groat",
                "interval": "1m",
                "rules": [_grafana_rule(alert) for alert in found],
            }
        ],
    }


def _grafana_rule(alert: Alert) -> dict[str, Any]:
    window = {"from": 600, "to": 0}
    query = {
        "refId": "A",
        "relativeTimeRange": window,
        "datasourceUid": PROMETHEUS,
        "model": {
            "refId": "A",
            "datasource": {"type": "prometheus", "uid": PROMETHEUS},
            "expr": _counted(alert.expression),
            "instant": True,
            "range": False,
        },
    }
    threshold = {
        "refId": "B",
        "relativeTimeRange": window,
        "datasourceUid": "__expr__",
        "model": {
            "refId": "B",
            "datasource": {"type": "__expr__", "uid": "__expr__"},
            "type": "threshold",
            "expression": "A",
            "conditions": [{"type": "query", "evaluator": {"type": "gt", "params": [0]}}],
        },
    }
    return {
        "uid": alert.uid,
        "title": alert.name.replace("-", " ").capitalize(),
        "condition": "B",
        "data": [query, threshold],
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.lasting,
        "labels": {"severity": alert.severity, "service": "groat"},
        "annotations": {"summary": alert.summary, "description": alert.advice},
        "isPaused": False,
    }


def _counted(expression: str) -> str:
    """Return an expression of 1 for each thing that is wrong, NaN included, whose labels stay; else of nothing."""
    return f"count without () ({expression})"
