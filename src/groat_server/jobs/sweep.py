"""The sweep: once a minute it carries out what is due, so that people who read the tables see it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from groat_server.operations.periods import sweep
from groat_server.operations.rollups import add_up_actions

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

INTERVAL_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps for ever; an error is logged and the next round tries again."""

    def __init__(self, ledger: Ledger, *, interval: float = INTERVAL_SECONDS) -> None:
        self._ledger = ledger
        self._interval = interval
        self._last_success = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """Whether it has come round within the last five intervals."""
        return time.monotonic() - self._last_success < 5 * self._interval

    async def run(self) -> None:
        """Sweep, wait, again. Ends only by being cancelled."""
        while True:
            try:
                swept = await sweep(self._ledger)
                await add_up_actions(self._ledger)
                self._last_success = time.monotonic()
                if swept:
                    _log.info("rolled %d users over their boundaries", swept)
            except Exception:  # the sweep must outlive whatever befalls one round of it  # noqa: BLE001 - it must outlive whatever befalls one round of it
                _log.exception("the sweep failed; it goes on")
            await asyncio.sleep(self._interval)
