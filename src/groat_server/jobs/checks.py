"""The checks' round: every few minutes each check is run, so that its findings can be watched."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from groat_server.operations.checks import CHECKS, run_checks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from groat_server.operations.ledger import Ledger

INTERVAL_SECONDS = 300.0
TIMEOUT = "10min"
PAUSE_FACTOR = 20.0
"""The pause after a check lasts so many times as long as it took: little of the time is spent checking, at any time."""

_log = logging.getLogger(__name__)


class Checker:
    """Runs all checks for ever, one after another, and tells how many findings each has; repairs nothing.

    A check that could not be run has NaN findings. The larger the ledger, the longer a round: charges do not notice it.
    """

    def __init__(
        self,
        ledger: Ledger,
        tell: Callable[[Mapping[str, float]], None],
        *,
        interval: float = INTERVAL_SECONDS,
        pause_factor: float = PAUSE_FACTOR,
    ) -> None:
        self._ledger = ledger
        self._tell = tell
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
            (result,) = await run_checks(self._ledger, [name], statement_timeout=TIMEOUT)
        except Exception:  # the round must outlive whatever befalls one check  # noqa: BLE001
            _log.exception("the check %s could not be run", name)
            return float("nan")
        if result.verdict == "fail":
            _log.error("the check %s has %d findings: see groat check %s", name, result.count, name)
        return float(result.count)
