"""One way to write what happens in the block of a hold, run by both clients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from groat import AsyncGroat, AsyncHold, Groat, Hold

Body: TypeAlias = Callable[[Any], Generator[Any, Any, object] | None]
"""What is done with the hold. Where it is a generator, `yield` stands for what `async` code awaits."""

END = object()


def next_of(stream: Any) -> Any:
    """Ask a stream for its next chunk, END after the last: to be yielded."""
    return anext(stream, END) if hasattr(stream, "__anext__") else next(stream, END)


def passing(stream: Any) -> Generator[Any, Any, list[Any]]:
    """Take all that a stream has."""
    taken = []
    while (chunk := (yield next_of(stream))) is not END:
        taken.append(chunk)
    return taken


def source(kind: str, chunks: list[Any], closed: list[bool] | None = None) -> Any:
    """Give the chunks as the answer of a provider; an exception among them is raised, `closed` notes an early end."""
    noted = [] if closed is None else closed
    return _source(chunks, noted) if kind == "sync" else _async_source(chunks, noted)


def _source(chunks: list[Any], closed: list[bool]) -> Any:
    try:
        for chunk in chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    except GeneratorExit:
        closed.append(True)
        raise


async def _async_source(chunks: list[Any], closed: list[bool]) -> Any:
    try:
        for chunk in chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    except GeneratorExit:
        closed.append(True)
        raise


def run(client: Groat, body: Body, *args: Any, **kwargs: Any) -> Hold:
    """Run the block; returns the hold."""
    with client.hold(*args, **kwargs) as hold:
        steps = body(hold)
        if steps is not None:
            _drive(steps)
    return hold


async def run_async(client: AsyncGroat, body: Body, *args: Any, **kwargs: Any) -> AsyncHold:
    """Run the block; returns the hold."""
    async with client.hold(*args, **kwargs) as hold:
        steps = body(hold)
        if steps is not None:
            await _drive_async(steps)
    return hold


def _drive(steps: Generator[Any, Any, object]) -> None:
    try:
        value = next(steps)
        while True:
            value = steps.send(value)
    except StopIteration:
        return


async def _drive_async(steps: Generator[Any, Any, object]) -> None:
    try:
        value = next(steps)
        while True:
            try:
                result = await value if inspect.isawaitable(value) else value
            except Exception as error:  # noqa: BLE001 (it belongs to the block)
                value = steps.throw(error)
            else:
                value = steps.send(result)
    except StopIteration:
        return
