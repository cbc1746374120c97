"""Finishing what was begun, for a task that is being cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from anyio import CancelScope

if TYPE_CHECKING:
    from collections.abc import Coroutine

HURRIED_SECONDS = 5.0


async def finish(
    work: Coroutine[Any, Any, None], *, hurried: bool
) -> tuple[Exception | None, asyncio.CancelledError | None]:
    """Await `work` to its end, however often this task is cancelled: then, or `hurried`, for five seconds more.

    Returns what `work` has failed with and the cancellation that came meanwhile, which the caller has to let go on.

    There are two kinds of cancellation. A task's own, which comes once for each call of `cancel()`, is caught here.
    That of an AnyIO scope, as web frameworks use it, comes again with each pass of the loop: a scope keeps it off.
    """
    task = asyncio.create_task(work)
    cancellation = None
    with CancelScope(shield=hurried) as scope:
        while not task.done():
            try:
                await asyncio.wait((task,), timeout=HURRIED_SECONDS if hurried else None)
            except asyncio.CancelledError as error:
                cancellation = error
                hurried = scope.shield = True
            else:
                task.cancel()  # it is done, or its time is up
    if task.cancelled():
        return TimeoutError(f"No answer within {HURRIED_SECONDS:g} seconds."), cancellation
    failure = task.exception()
    if failure is not None and not isinstance(failure, Exception):
        raise failure
    return failure, cancellation
