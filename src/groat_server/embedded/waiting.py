"""Waiting for something another process does, with an end to patience."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GLANCE_SECONDS = 0.01


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether `condition` came true within `seconds`; it is asked at least once."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(GLANCE_SECONDS)
    return True
