"""Figures for Prometheus. No label carries a user, a model or free text, so that their number is bounded."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from groat_server.core.outcomes import Outcome
from groat_server.operations.vitals import read_vitals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from groat_server.operations.batching import Batcher
    from groat_server.operations.ledger import Ledger

_REFRESH_SECONDS = 5.0
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_COMMIT_BUCKETS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4)

_latest = partial(Gauge, multiprocess_mode="mostrecent")
"""Makes a figure that is the ledger's: of what several workers say, the newest is true."""


class Gauges:
    """The figures of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.charges = Counter("groat_charges", "Charges by outcome.", ["outcome"], registry=registry)
        self.requests = Histogram(
            "groat_http_request_seconds", "HTTP requests by status class.", ["status"], registry=registry
        )
        self.last_event_age = _latest(
            "groat_last_event_age_seconds", "Seconds since the newest event was booked.", registry=registry
        )
        self.users_without_balance = _latest(
            "groat_users_without_balance", "Users outside demo mode who have no balance.", registry=registry
        )
        self.overdue_resets = _latest(
            "groat_overdue_resets", "Users whose reset has been due for over five minutes.", registry=registry
        )
        self.open_holds = _latest("groat_open_holds", "Open holds that have not expired.", registry=registry)
        self.held_credits = _latest("groat_held_credits", "Credits that open holds set aside.", registry=registry)
        self.check_findings = _latest(
            "groat_check_findings", "Findings of each check in its last run.", ["check"], registry=registry
        )
        self.check_last_run = _latest(
            "groat_check_last_run_timestamp", "When all checks were last run, in Unix time.", registry=registry
        )
        self.queue = Gauge(
            "groat_batcher_queue_charges",
            "Charges that waited to be written when the last batch was.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.batches = Histogram(
            "groat_batcher_batch_charges", "Charges written at once.", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.commits = Histogram(
            "groat_batcher_commit_seconds",
            "How long the writing of a batch takes, to its commit.",
            buckets=_COMMIT_BUCKETS,
            registry=registry,
        )
        self.not_taken = Counter(
            "groat_batcher_refused_charges",
            "Charges that were not taken: too much was waiting, or the service was ending.",
            registry=registry,
        )
        self._refreshed = float("-inf")
        for outcome in Outcome:
            self.charges.labels(outcome.value)

    def count(self, outcomes: Iterable[Outcome]) -> None:
        """Count what became of charges."""
        for outcome in outcomes:
            self.charges.labels(outcome.value).inc()

    def watch(self, batcher: Batcher) -> None:
        """Show what this batcher does."""
        batcher.observer = self

    def wrote(self, charges: int, seconds: float, queued: int) -> None:
        """Note a batch that was written, how long that took, and how many charges wait by now."""
        self.queue.set(queued)
        self.batches.observe(charges)
        self.commits.observe(seconds)

    def refused(self, charges: int, queued: int) -> None:
        """Note charges that were not taken, and how many wait."""
        self.queue.set(queued)
        self.not_taken.inc(charges)

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
