"""Holds of tasks that are cancelled, and of generators that are closed: each is settled before anything goes on."""

from __future__ import annotations

import asyncio
import gc
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest

import groat
from groat import _shield
from tests.client.conftest import Script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

pytestmark = pytest.mark.anyio

HELD = b'{"id": "hold_7_3", "tracked": true, "state": "open", "amount": 1, "available": 9, "replayed": false}'
RECEIPT = b'{"id": 41, "outcome": "recorded", "credits_charged": 1}'


class Service:
    """A service whose answers a test can hold back: `asked` is set by a request that waits for `answering`."""

    def __init__(self) -> None:
        self.asked, self.answering = asyncio.Event(), asyncio.Event()
        self.requests: list[httpx2.Request] = []
        self.answering.set()

    async def reply(self, request: httpx2.Request) -> httpx2.Response:
        """Answer as the service would."""
        self.requests.append(request)
        await asyncio.sleep(0)  # no answer is there at once
        if not self.answering.is_set():
            self.asked.set()
            await self.answering.wait()
        return httpx2.Response(200, content=RECEIPT if request.url.path.endswith("/capture") else HELD)

    def hold_back(self) -> None:
        """Leave what is asked from now on without an answer."""
        self.answering.clear()

    @property
    def acts(self) -> list[str]:
        """What was asked for."""
        return [request.url.path.rpartition("/")[2] for request in self.requests]

    def sent(self) -> Any:
        """Read the body of the last request."""
        return json.loads(self.requests[-1].content)


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def meter(service: Service) -> AsyncIterator[groat.AsyncGroat]:
    async with groat.AsyncGroat("http://groat.test", transport=httpx2.MockTransport(service.reply)) as client:
        yield client


async def streaming(meter: groat.AsyncGroat, begun: asyncio.Event, **kwargs: Any) -> None:
    """Use three tokens, then wait for ever."""
    async with meter.hold(7, action="chat", **kwargs) as hold:
        hold.saw(output_tokens=3)
        begun.set()
        await asyncio.Event().wait()


async def cancelled_once(work: Callable[[], Coroutine[Any, Any, None]], begun: asyncio.Event) -> None:
    """Cancel the task, as `Task.cancel` does."""
    task = asyncio.ensure_future(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_again_and_again(work: Callable[[], Coroutine[Any, Any, None]], begun: asyncio.Event) -> None:
    """Cancel the task on each pass of the loop until it is over."""
    task = asyncio.ensure_future(work())
    await begun.wait()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task


async def scope_cancelled(work: Callable[[], Coroutine[Any, Any, None]], begun: asyncio.Event) -> None:
    """Cancel the scope that the task runs in, as Starlette does when a client is gone."""
    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await begun.wait()
        group.cancel_scope.cancel()


async def timed_out(work: Callable[[], Coroutine[Any, Any, None]], begun: asyncio.Event) -> None:
    """Let the time be up."""

    async def limited() -> None:
        async with asyncio.timeout(None) as timeout:
            task = asyncio.ensure_future(begun.wait())
            task.add_done_callback(lambda _: timeout.reschedule(0))
            await work()

    with pytest.raises(TimeoutError):
        await limited()


@pytest.mark.parametrize("cancelled", [cancelled_once, cancelled_again_and_again, scope_cancelled, timed_out])
async def test_a_cancelled_block_is_charged_for_what_it_saw(
    meter: groat.AsyncGroat, service: Service, cancelled: Any
) -> None:
    """Taken out: the loop in `_shield.finish` (seen by `again_and_again`), and all of it."""
    begun = asyncio.Event()
    await cancelled(lambda: streaming(meter, begun), begun)
    assert service.acts == ["holds", "capture"]
    assert service.sent()["metadata"] == {"estimated": True, "interrupted": True}


@pytest.mark.parametrize("cancelled", [cancelled_once, cancelled_again_and_again, scope_cancelled, timed_out])
async def test_a_cancelled_block_releases_by_policy(meter: groat.AsyncGroat, service: Service, cancelled: Any) -> None:
    begun = asyncio.Event()
    await cancelled(lambda: streaming(meter, begun, on_error="release"), begun)
    assert service.acts == ["holds", "release"]


@pytest.mark.parametrize("ends", [False, True])
async def test_a_scope_that_is_cancelled_is_not_polled_while_the_hold_is_settled(
    meter: groat.AsyncGroat, service: Service, *, ends: bool
) -> None:
    """Taken out: the scope in `_shield.finish`, or its shield; then each pass of the loop cancels the wait anew."""
    begun, waits = asyncio.Event(), []
    wait = asyncio.wait

    async def counted(*args: Any, **kwargs: Any) -> Any:
        waits.append(args)
        return await wait(*args, **kwargs)

    async def answer_late() -> None:
        await service.asked.wait()
        begun.set()
        for _ in range(100):
            await asyncio.sleep(0)
        service.answering.set()

    async def block() -> None:
        async with meter.hold(7, action="chat") as hold:
            hold.saw(output_tokens=3)
            service.hold_back()
            if not ends:
                begun.set()
                await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.wait", counted)
        answering = asyncio.ensure_future(answer_late())
        await scope_cancelled(block, begun)
        await answering
    assert service.acts == ["holds", "capture"]
    assert len(waits) == 1 + ends


async def test_a_service_that_does_not_answer_is_waited_for_only_so_long(
    meter: groat.AsyncGroat, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Taken out: the timeout in `_shield.finish`."""
    monkeypatch.setattr(_shield, "HURRIED_SECONDS", 0.01)
    error = ValueError("the provider is down")

    async def block() -> None:
        async with meter.hold(7, action="chat") as hold:
            hold.saw(output_tokens=3)
            service.hold_back()
            raise error

    with pytest.raises(ValueError, match="provider") as raised:
        await block()
    assert raised.value is error
    assert error.__notes__ == ["The hold hold_7_3 is not settled and ends by itself: No answer within 0.01 seconds."]
    assert [record.message for record in caplog.records] == error.__notes__
    assert service.acts == ["holds", "capture"]


async def test_a_cancellation_that_comes_on_the_way_out_waits_and_goes_on(
    meter: groat.AsyncGroat, service: Service
) -> None:
    """Taken out: raising the cancellation at the end of `_finish`; then the task goes on as if nobody had asked."""

    async def block() -> None:
        async with meter.hold(7, action="chat") as hold:
            hold.saw(output_tokens=3)
            service.hold_back()
        pytest.fail("the task went on")

    task = asyncio.ensure_future(block())
    await service.asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    service.answering.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.acts == ["holds", "capture"]
    assert service.sent()["metadata"] == {"estimated": True}


async def test_a_cancellation_on_the_way_out_after_an_error_goes_on(meter: groat.AsyncGroat, service: Service) -> None:
    async def block() -> None:
        async with meter.hold(7, action="chat") as hold:
            hold.saw(output_tokens=3)
            service.hold_back()
            raise ValueError("the provider is down")

    task = asyncio.ensure_future(block())
    await service.asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    service.answering.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.sent()["metadata"] == {"estimated": True, "interrupted": True}


async def test_a_capture_that_is_cancelled_is_made_sure_of(meter: groat.AsyncGroat, service: Service) -> None:
    async def block() -> None:
        async with meter.hold(7, action="chat") as hold:
            service.hold_back()
            await hold.capture(output_tokens=5)

    task = asyncio.ensure_future(block())
    await service.asked.wait()
    task.cancel()
    service.answering.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.acts == ["holds", "capture", "capture"]
    assert service.requests[1].content == service.requests[2].content


async def test_a_placement_that_is_cancelled_is_taken_back(meter: groat.AsyncGroat, service: Service) -> None:
    service.hold_back()

    async def block() -> None:
        async with meter.hold(7, action="chat"):
            pytest.fail("the block ran")

    task = asyncio.ensure_future(block())
    await service.asked.wait()
    task.cancel()
    service.answering.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.acts == ["holds", "holds", "release"]
    assert service.requests[0].content == service.requests[1].content


async def test_a_generator_that_is_closed_or_dropped_settles_its_hold(
    meter: groat.AsyncGroat, service: Service
) -> None:
    async def answer() -> AsyncIterator[str]:
        async with meter.hold(7, action="chat") as hold:
            async for chunk in hold.stream(_chunks(), tokens=len):
                yield chunk

    async def _chunks() -> AsyncIterator[str]:
        for _ in range(9):
            yield "abc"

    closed = answer()
    await anext(closed)
    await closed.aclose()  # type: ignore[attr-defined]
    assert service.acts == ["holds", "capture"]
    dropped = answer()
    await anext(dropped)
    service.hold_back()
    del dropped
    gc.collect()
    await service.asked.wait()
    service.answering.set()
    assert service.acts == ["holds", "capture"] * 2
    assert service.sent()["output_tokens"] == 3
    assert service.sent()["metadata"] == {"estimated": True, "interrupted": True}


def test_a_generator_of_a_thread_that_is_closed_settles_its_hold() -> None:
    script = Script("sync")
    script.answer(201, HELD)
    script.answer(201, RECEIPT)

    def answer(meter: groat.Groat) -> Iterator[str]:
        with meter.hold(7, action="chat") as hold:
            yield from hold.stream(iter(["abc"] * 9), tokens=len)

    with script.client() as meter:
        chunks = answer(meter)
        next(chunks)
        del chunks
        gc.collect()
    assert script.sent()["output_tokens"] == 3
    assert script.sent()["metadata"] == {"estimated": True, "interrupted": True}


async def test_a_stream_of_a_provider_that_is_left_is_closed(meter: groat.AsyncGroat) -> None:
    class Stream:
        """As some providers' clients have it: `close` is to be awaited, and there is no `aclose`."""

        closed = False

        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> str:
            return "abc"

        async def close(self) -> None:
            self.closed = True

    stream = Stream()
    async with meter.hold(7, action="chat", max_output_tokens=7) as hold:
        with suppress(groat.HoldExhausted):
            async for _ in hold.stream(stream, tokens=len):
                pass
    assert stream.closed
