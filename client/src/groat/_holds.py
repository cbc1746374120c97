"""Credits set aside around a use of AI: `Hold` for threads and its twin `AsyncHold` for an event loop."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from ._errors import GroatError
from ._settling import Settling

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
    from datetime import timedelta

    from ._answers import Receipt
    from ._requests import Amount, HoldTerms, Request
    from ._settling import AtLimit, OnError, Steps

T = TypeVar("T")


class Call(Protocol):
    """Sends a request until there is a result; in a hurry, twice at most."""

    def __call__(self, request: Request[T], *, hurried: bool = False) -> T:
        """Return the result. Raises GroatError."""


class AsyncCall(Protocol):
    """As `Call`, to be awaited."""

    def __call__(self, request: Request[T], *, hurried: bool = False) -> Coroutine[Any, Any, T]:
        """Return the result. Raises GroatError."""


class Hold(Settling):
    """Credits set aside while a `with` block runs: made by `Groat.hold`, for one block of one thread.

    `receipt` is that of the capture, once there is one, also after the block. `exhausted` tells that a stream has
    met its limit.
    """

    def __init__(self, call: Call, terms: HoldTerms, on_error: OnError) -> None:
        super().__init__(terms, on_error)
        self._call = call

    def __enter__(self) -> Self:
        try:
            self._run(self._placing())
        except Exception:
            raise
        except BaseException as error:
            self._finish(self._withdrawing(), error)
            raise
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._finish(self._leaving(error), error)

    def capture(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        quantity: Amount | None = None,
        action: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        api_cost: Amount | None = None,
        description: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Receipt:
        """Charge what was used, once, and free the rest of the hold.

        What is not given is what was last seen, else what the hold was placed with. The key is the hold's with
        `:capture` behind it, so the same capture again gets the first receipt, also in another attempt at the block.

        More than the hold, or after its end, is charged in full too: `Receipt.exceeded_hold`, `Receipt.late_capture`.
        For a user in demo mode nothing is sent. Raises as `Groat.charge` does.
        """
        measures = self._measured(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
            action=action,
            model=model,
            provider=provider,
            api_cost=api_cost,
        )
        remarks = self._remarks(metadata, description=description, session_id=session_id)
        return self._run(self._capturing(measures, remarks))

    def release(self) -> None:
        """Free the hold: nothing was used. Raises HoldClosed if it was captured."""
        self._run(self._releasing())

    def renew(self, ttl: timedelta | int | None = None) -> None:
        """Let the hold last for `ttl` (seconds, or a timedelta) from now on, if that is longer than it would.

        Without `ttl`, as long as it was placed for. Raises HoldClosed if it is not open any more.
        """
        self._run(self._renewing(ttl))

    def stream(
        self,
        chunks: Iterable[T],
        *,
        tokens: Callable[[T], int],
        limit: int | None = None,
        at_limit: AtLimit = "raise",
    ) -> Iterator[T]:
        """Pass the chunks of an answer on, and note the output tokens that `tokens` finds in each.

        `limit` (the hold's `max_output_tokens` unless given) bounds the output tokens of the block. A chunk that
        would pass it is neither passed on nor noted: the stream raises HoldExhausted, or with `at_limit="end"` just
        ends. `chunks` is closed where it is left before its end.
        """
        self._streams_begun += 1
        ended = False
        try:
            for chunk in chunks:
                if not self._is_within(tokens(chunk), limit, at_limit):
                    return
                yield chunk
            ended = True
            self._streams_ended += 1
        finally:
            close = getattr(chunks, "close", None)
            if not ended and close is not None:
                close()

    def _run(self, steps: Steps[T], *, hurried: bool = False) -> T:
        try:
            request = next(steps)
            while True:
                try:
                    answer = self._call(request, hurried=hurried)
                except GroatError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def _finish(self, steps: Steps[None], error: BaseException | None) -> None:
        try:
            self._run(steps, hurried=error is not None)
        except Exception as failure:
            if error is None:
                raise
            self._tell(error, failure)


class AsyncHold(Settling):
    """Credits set aside while an `async with` block runs: as `Hold`, with its methods awaited.

    The block's way out is not cut short: the hold is settled also where the task is cancelled, within five seconds.
    """

    def __init__(self, call: AsyncCall, terms: HoldTerms, on_error: OnError) -> None:
        super().__init__(terms, on_error)
        self._call = call

    async def __aenter__(self) -> Self:
        try:
            await self._run(self._placing())
        except Exception:
            raise
        except BaseException as error:
            await self._finish(self._withdrawing(), error)
            raise
        return self

    async def __aexit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        await self._finish(self._leaving(error), error)

    async def capture(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        quantity: Amount | None = None,
        action: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        api_cost: Amount | None = None,
        description: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Receipt:
        """Charge what was used, once, and free the rest of the hold: see `Hold.capture`.

        If the task is cancelled meanwhile, leaving the block makes sure of it.
        """
        measures = self._measured(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
            action=action,
            model=model,
            provider=provider,
            api_cost=api_cost,
        )
        remarks = self._remarks(metadata, description=description, session_id=session_id)
        return await self._run(self._capturing(measures, remarks))

    async def release(self) -> None:
        """Free the hold: see `Hold.release`."""
        await self._run(self._releasing())

    async def renew(self, ttl: timedelta | int | None = None) -> None:
        """Let the hold last longer: see `Hold.renew`."""
        await self._run(self._renewing(ttl))

    async def stream(
        self,
        chunks: AsyncIterable[T],
        *,
        tokens: Callable[[T], int],
        limit: int | None = None,
        at_limit: AtLimit = "raise",
    ) -> AsyncIterator[T]:
        """Pass the chunks of an answer on, and note the tokens: see `Hold.stream`."""
        self._streams_begun += 1
        ended = False
        try:
            async for chunk in chunks:
                if not self._is_within(tokens(chunk), limit, at_limit):
                    return
                yield chunk
            ended = True
            self._streams_ended += 1
        finally:
            close = getattr(chunks, "aclose", None) or getattr(chunks, "close", None)
            if not ended and close is not None and inspect.isawaitable(closing := close()):
                await closing

    async def _run(self, steps: Steps[T], *, hurried: bool = False) -> T:
        try:
            request = next(steps)
            while True:
                try:
                    answer = await self._call(request, hurried=hurried)
                except GroatError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _finish(self, steps: Steps[None], error: BaseException | None) -> None:
        from ._shield import finish  # noqa: PLC0415 (as asyncio in `_client`)

        failure, cancellation = await finish(self._run(steps, hurried=error is not None), hurried=error is not None)
        goes_on = cancellation if error is None else error
        if failure is not None and goes_on is None:
            raise failure
        if failure is not None and goes_on is not None:
            self._tell(goes_on, failure)
        if cancellation is not None and type(error) is not type(cancellation):
            raise cancellation
