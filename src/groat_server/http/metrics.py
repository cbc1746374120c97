"""Figures for Prometheus. No label carries a user, a model or free text, so that their number is bounded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from groat_server.core.outcomes import Outcome
from groat_server.operations.vitals import read_vitals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from groat_server.operations.ledger import Ledger

_REFRESH_SECONDS = 5.0


class Gauges:
    """The figures of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.charges = Counter("groat_charges", "Charges by outcome.", ["outcome"], registry=registry)
        self.requests = Histogram(
            "groat_http_request_seconds", "HTTP requests by status class.", ["status"], registry=registry
        )
        self.last_event_age = Gauge(
            "groat_last_event_age_seconds", "Seconds since the newest event was booked.", registry=registry
        )
        self.users_without_balance = Gauge(
            "groat_users_without_balance", "Users outside demo mode who have no balance.", registry=registry
        )
        self.overdue_resets = Gauge(
            "groat_overdue_resets", "Users whose reset has been due for over five minutes.", registry=registry
        )
        self.open_holds = Gauge("groat_open_holds", "Open holds that have not expired.", registry=registry)
        self.held_credits = Gauge("groat_held_credits", "Credits that open holds set aside.", registry=registry)
        self.check_findings = Gauge(
            "groat_check_findings", "Findings of each check in its last run.", ["check"], registry=registry
        )
        self.check_last_run = Gauge(
            "groat_check_last_run_timestamp", "When all checks were last run, in Unix time.", registry=registry
        )
        self._refreshed = float("-inf")
        for outcome in Outcome:
            self.charges.labels(outcome.value)

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count what became of charges."""
        for outcome in outcomes:
            self.charges.labels(outcome.value).inc()

    def checked(self, findings: Mapping[str, float]) -> None:
        """Note what a run of all checks has found: findings by check, NaN where it could not be run."""
        for name, count in findings.items():
            self.check_findings.labels(name).set(count)
        self.check_last_run.set_to_current_time()

    async def refresh(self, ledger: Ledger) -> None:
        """Read the figures of the ledger, at most every few seconds."""
        if time.monotonic() - self._refreshed < _REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        vitals = await read_vitals(ledger)
        self.last_event_age.set(float(vitals.last_event_age_seconds))
        self.users_without_balance.set(vitals.users_without_balance)
        self.overdue_resets.set(vitals.overdue_resets)
        self.open_holds.set(vitals.open_holds)
        self.held_credits.set(float(vitals.held_credits))
