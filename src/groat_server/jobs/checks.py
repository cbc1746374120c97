"""The checks' round: every few minutes each check is run, so that its findings can be watched."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from groat_server.operations.checks import CHECKS, find_check, run_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from groat_server.operations.checks import CheckResult, Verdict
    from groat_server.operations.ledger import Ledger

INTERVAL_SECONDS = 300.0
TIMEOUT = "10min"
PAUSE_FACTOR = 20.0
"""The pause after a check lasts so many times as long as it took: little of the time is spent checking, at any time."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckRun:
    """A check's last run; `result` None: it could not be run. `since`: the first run in a row that came to the same."""

    result: CheckResult | None
    ended_at: datetime
    seconds: float
    since: datetime

    @property
    def verdict(self) -> Verdict | None:
        """What it came to; None: it could not be run."""
        return None if self.result is None else self.result.verdict


class CheckRuns:
    """The last run of each check in this process, whoever asked for it."""

    def __init__(self) -> None:
        self._runs: dict[str, CheckRun] = {}

    def last(self, name: str) -> CheckRun | None:
        """Return a check's last run; None: there was none yet."""
        return self._runs.get(name)

    async def run(self, ledger: Ledger, name: str) -> CheckResult:
        """Run a check, and keep what it came to. Raises what `run_checks` raises."""
        find_check(name)
        began = time.monotonic()
        try:
            (result,) = await run_checks(ledger, [name], statement_timeout=TIMEOUT)
        except Exception:
            self._note(name, None, time.monotonic() - began)
            raise
        self._note(name, result, time.monotonic() - began)
        return result

    def _note(self, name: str, result: CheckResult | None, seconds: float) -> None:
        now = datetime.now(UTC)
        before, run = self._runs.get(name), CheckRun(result, now, seconds, now)
        if before is not None and before.verdict == run.verdict:
            run = CheckRun(result, now, seconds, before.since)
        self._runs[name] = run


class Checker:
    """Runs all checks for ever, one after another, and tells how many findings each has; repairs nothing.

    A check that could not be run has NaN findings. The larger the ledger, the longer a round: charges do not notice it.
    """

    def __init__(
        self,
        ledger: Ledger,
        tell: Callable[[Mapping[str, float]], None],
        *,
        runs: CheckRuns | None = None,
        interval: float = INTERVAL_SECONDS,
        pause_factor: float = PAUSE_FACTOR,
    ) -> None:
        self._ledger = ledger
        self._tell = tell
        self._runs = runs or CheckRuns()
        self._interval = interval
        self._pause_factor = pause_factor

    async def run(self) -> None:
        """Check, wait, again. Ends only by being cancelled."""
        while True:
            ends = time.monotonic() + self._interval
            findings = {}
            for name in CHECKS:
                began = time.monotonic()
                findings[name] = await self._findings(name)
                await asyncio.sleep(self._pause_factor * (time.monotonic() - began))
            self._tell(findings)
            await asyncio.sleep(max(0.0, ends - time.monotonic()))

    async def _findings(self, name: str) -> float:
        try:
            result = await self._runs.run(self._ledger, name)
        except Exception:  # the round must outlive whatever befalls one check  # noqa: BLE001
            _log.exception("the check %s could not be run", name)
            return float("nan")
        if result.verdict == "fail":
            _log.error("the check %s has %d findings: see groat check %s", name, result.count, name)
        return float(result.count)
