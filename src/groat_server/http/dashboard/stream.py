"""The live feed as server-sent events: each message is an HTML fragment of rows.

A stream ends when the service does, when its reader has gone, when whoever reads is no longer allowed to, and when the
ledger cannot be read; the browser comes back by itself, and goes on where it was.
"""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from groat_server.errors import Busy, GroatError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from starlette.types import Receive, Scope, Send

    from groat_server.core.feed_rows import FeedEvent, FeedFilter
    from groat_server.operations.feed import Feed, FeedBatch, Subscription

STREAMS_MAX = 50
"""Streams that a process gives at a time."""

RENDERED_MAX = 200
"""Events that are rendered of a batch, the newest; a page shows no more. The others are counted."""

_PIECE = 5

ALIVE_SECONDS = 15.0
"""How often a stream that has nothing to say says so, and asks whether its reader is still allowed to read."""

_RETRY_MILLISECONDS = 3_000
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_BREAK = re.compile(r"\r\n|\r|\n")


class FeedStream(StreamingResponse):
    """A response that goes on until its reader leaves; what it reads from is given back then, at once."""

    def __init__(self, messages: AsyncGenerator[str, None]) -> None:
        self._messages = messages
        super().__init__(messages, media_type="text/event-stream", headers=_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with aclosing(self._messages):
            await super().__call__(scope, receive, send)


def feed_stream(
    feed: Feed,
    wanted: FeedFilter,
    render: Callable[[Sequence[FeedEvent], int], str],
    still_allowed: Callable[[], Awaitable[bool]],
    *,
    last: int = 0,
    last_event_id: str | None = None,
    alive_seconds: float = ALIVE_SECONDS,
) -> FeedStream:
    """Return a stream of what is booked from now on, after the `last` so many events.

    `render` makes HTML of events, oldest first, and of how many were passed over before them. `last_event_id` is what a
    browser sends that comes back. `still_allowed` is asked every `alive_seconds`. Raises Busy (too_many_streams).
    """
    if feed.subscribers >= STREAMS_MAX:
        raise Busy(
            "As many live streams are open as this service gives; close another page.",
            code="too_many_streams",
            headers={"Retry-After": "15"},
        )
    messages = _messages(
        feed, feed.subscribe(wanted, last=last, after=last_event_id), render, still_allowed, alive_seconds=alive_seconds
    )
    return FeedStream(messages)


async def _messages(
    feed: Feed,
    subscribing: AbstractAsyncContextManager[Subscription],
    render: Callable[[Sequence[FeedEvent], int], str],
    still_allowed: Callable[[], Awaitable[bool]],
    *,
    alive_seconds: float,
) -> AsyncGenerator[str, None]:
    asked = time.monotonic()
    with suppress(GroatError):
        async with subscribing as subscription:
            yield f"retry: {_RETRY_MILLISECONDS}\n\n"
            while not feed.is_closed:
                batch = await subscription.batch(max(0.0, asked + alive_seconds - time.monotonic()))
                if time.monotonic() >= asked + alive_seconds:
                    if not await still_allowed():
                        return
                    asked = time.monotonic()
                    yield ": alive\n\n"
                if batch is not None:
                    yield await _message(batch, render)


async def _message(batch: FeedBatch, render: Callable[[Sequence[FeedEvent], int], str]) -> str:
    """Return a batch's newest events as a message, newest first.

    Rendering keeps charges of this process waiting, so it is done piece by piece, and they are served in between.
    """
    passed_over = max(0, len(batch.events) - RENDERED_MAX)
    events = batch.events[passed_over:]
    pieces: list[str] = []
    for end in range(len(events), _PIECE, -_PIECE):
        pieces.append(render(events[end - _PIECE : end], 0))
        await asyncio.sleep(0)
    pieces.append(render(events[: len(events) - _PIECE * len(pieces)], batch.skipped + passed_over))
    fragment = _BREAK.split("".join(pieces))
    return "".join(f"data: {line}\n" for line in fragment) + f"id: {batch.position}\n\n"
