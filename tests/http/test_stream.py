"""The live feed as server-sent events, from a real server: what a browser is sent, and when a stream ends."""

from __future__ import annotations

import asyncio
import gc
import socket
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

import httpx2
import pytest
import uvicorn

from groat_server.core.feed_rows import FeedFilter
from groat_server.errors import Busy
from groat_server.http.application import create_app
from groat_server.http.dashboard import stream
from groat_server.http.dashboard.stream import feed_stream
from groat_server.http.server import _Protocol, _Server
from groat_server.http.service import Service
from groat_server.operations.usage import charge
from tests.operations.ledgers import new_user, use
from tests.operations.test_feed import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from groat_server.core.feed_rows import FeedEvent
    from groat_server.database import Address
    from groat_server.operations.feed import Feed
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60


@dataclass
class Page:
    """A service with a stream at /stream, and what its reader may do."""

    url: str = ""
    is_allowed: bool = True
    alive_seconds: float = 15.0
    asked: int = 0
    server: _Server | None = None
    serving: asyncio.Task[None] | None = None
    feed: Feed | None = field(default=None)

    async def answer(self, request: Request) -> Response:
        """Give the stream."""
        feed: Feed = request.app.state.feed
        self.feed = feed

        async def still_allowed() -> bool:
            self.asked += 1
            return self.is_allowed

        action = request.query_params.get("action")
        return feed_stream(
            feed,
            FeedFilter(action_type=action),
            fragment,
            still_allowed,
            last=int(request.query_params.get("last", "0")),
            last_event_id=request.headers.get("last-event-id"),
            alive_seconds=self.alive_seconds,
        )

    async def stop(self) -> None:
        """End the service as a signal does, and wait until it has ended."""
        assert self.server is not None
        assert self.serving is not None
        self.server.should_exit = True
        await self.serving


def fragment(events: Sequence[FeedEvent], skipped: int) -> str:
    """Make rows of several lines."""
    rows = [f"<tr>\n<td>{escape(event.action_type or '')}</td>\r\n<td>{event.credits:f}</td></tr>" for event in events]
    return "\n".join([*rows, f"<!-- {skipped} -->"])


@pytest.fixture
async def page(ledger_address: Address) -> AsyncIterator[Page]:
    """Run a service in this process; it waits for open answers for ever when it ends."""
    service = Service(ledger_address, provider_durability=True)
    app = create_app(service)
    page = Page()
    app.add_route("/stream", page.answer)
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        page.url = f"http://127.0.0.1:{listener.getsockname()[1]}/stream"
        page.server = server = _Server(uvicorn.Config(app, http=_Protocol, log_config=None, access_log=False), service)
        page.serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await until(lambda: server.started)
            yield page
        finally:
            server.force_exit = True
            await page.stop()
            gc.unfreeze()


@asynccontextmanager
async def reading(page: Page, *, after: str | None = None, **query: str) -> AsyncIterator[Reader]:
    """Open the stream."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with (
        httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client,
        client.stream("GET", page.url, params=query, headers=headers) as answer,
    ):
        reader = Reader(answer)
        if answer.status_code == httpx2.codes.OK:
            assert await reader.message() == ["retry: 3000"]  # it is subscribed by now
        yield reader


class Reader:
    """Reads messages, each as its lines."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def message(self) -> list[str] | None:
        """Return the next message; None at the end."""
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in self._lines:
                if not line:
                    return lines
                lines.append(line)
        return None


async def test_each_message_is_a_fragment_of_rows_with_a_position(ledger: Ledger, page: Page) -> None:
    user_id = await new_user(ledger)
    async with reading(page) as reader:
        headers = reader.answer.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        await charge(ledger, [use(user_id, "a", 3)])
        assert page.feed is not None
        assert await reader.message() == [
            "data: <tr>",
            "data: <td>unit</td>",
            "data: <td>3</td></tr>",
            "data: <!-- 0 -->",
            f"id: {page.feed.position}",
        ]


async def test_a_stream_begins_with_the_last_events_that_are_wanted(ledger: Ledger, page: Page) -> None:
    user_id = await new_user(ledger)
    await charge(ledger, [use(user_id, "a", 3), use(user_id, "b", 4), use(user_id, "c", 5)])
    async with reading(page, last="2") as reader:
        message = await reader.message()
    assert message is not None
    assert [line for line in message if "</tr>" in line] == ["data: <td>4</td></tr>", "data: <td>5</td></tr>"]
    async with reading(page, last="2", action="other") as reader:
        await charge(ledger, [use(user_id, "d", 6)])
        assert page.feed is not None
        await page.stop()
        assert await reader.message() is None


async def test_a_browser_that_comes_back_goes_on_where_it_was(ledger: Ledger, page: Page) -> None:
    user_id = await new_user(ledger)
    async with reading(page) as reader:
        await charge(ledger, [use(user_id, "a", 3)])
        message = await reader.message()
        assert message is not None
        position = message[-1].removeprefix("id: ")
    await charge(ledger, [use(user_id, "b", 4)])
    async with reading(page, after=position, last="10") as reader:
        message = await reader.message()
    assert message is not None
    assert [line for line in message if "</tr>" in line] == ["data: <td>4</td></tr>"]


async def test_the_end_of_the_service_does_not_wait_for_its_streams(page: Page) -> None:
    """Taken out: `end_streams` in http/server.py; the service never ended."""
    async with reading(page) as reader, reading(page):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await page.stop()
        assert await reader.message() is None


async def test_a_stream_whose_reader_has_gone_takes_nothing_more(ledger: Ledger, page: Page) -> None:
    async with reading(page):
        feed = page.feed
        assert feed is not None
        assert feed.subscribers == 1
    user_id = await new_user(ledger)
    await charge(ledger, [use(user_id, "a")])
    await until(lambda: not (feed.subscribers or feed.is_reading))


async def test_a_stream_says_that_it_lives_and_ends_when_its_reader_is_no_longer_allowed(page: Page) -> None:
    """Taken out: the question to `still_allowed`."""
    page.alive_seconds = 0.01
    async with reading(page) as reader:
        assert await reader.message() == [": alive"]
        page.is_allowed = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (message := await reader.message()) is not None:
                assert message == [": alive"]
    assert page.asked >= 2


async def test_a_busy_stream_is_asked_for_as_well(ledger: Ledger, page: Page) -> None:
    page.alive_seconds = 0.3
    user_id = await new_user(ledger, 100_000)
    page.is_allowed = False

    async def keep_charging() -> None:
        number = 0
        while True:
            await charge(ledger, [use(user_id, f"{number}")])
            number += 1

    async with reading(page) as reader:
        charging = asyncio.create_task(keep_charging())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await reader.message() is not None:
                pass
        charging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await charging


async def test_streams_have_a_bound(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 2)
    async with reading(page), reading(page):
        async with reading(page) as refused:
            assert refused.answer.status_code == 503
            assert refused.answer.headers["retry-after"] == "15"
        feed = page.feed
        assert feed is not None
        with pytest.raises(Busy):
            feed_stream(feed, FeedFilter(), fragment, page_allows)


async def page_allows() -> bool:
    return True
