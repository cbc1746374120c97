"""Charges while five readers watch the live feed, and none: 500 a second, and as many as 64 connections make.

python -m benchmarks.live [--small]

The readers are connected to the service as pages are, by server-sent events, each row as HTML. The load comes from a
process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import uvicorn
import uvloop
from jinja2 import Environment

from benchmarks.harness import CALLERS, Measured, Meter, Side, Size, Verdict, in_turn, keep, on_server, read_size, show
from benchmarks.harness import show_verdicts as show_goals
from groat_server.bench.http_load import Answered, Load, is_complete, run_load
from groat_server.bench.sampling import ACTION_TYPE, INPUT_TOKENS, MODEL, OUTPUT_TOKENS, percentile
from groat_server.bench.sandbox import fill, running_service, service_token
from groat_server.core.feed_rows import FeedFilter
from groat_server.database import Address
from groat_server.http.application import create_app
from groat_server.http.dashboard.stream import feed_stream
from groat_server.http.hot.routes import HotRoutes
from groat_server.http.server import _Protocol, _Server
from groat_server.http.service import Service
from groat_server.operations.ledger import open_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from groat_server.core.feed_rows import FeedEvent
    from groat_server.embedded import Server

READERS = 5
RATE = 500
_STREAM = "/stream"
_SENDERS = 16
_GRACE_SECONDS = 15.0
_LOOK_SECONDS = 0.1

_ROWS = Environment(autoescape=True).from_string(
    "{% if skipped %}<tr><td colspan=7>{{ skipped }} passed over</td></tr>{% endif %}"
    "{% for event in events %}<tr><td><time datetime={{ event.recorded_at.isoformat() }}></time></td>"
    "<td><a href=/ui/users/{{ event.user_id }}>{{ event.email }}</a></td><td>{{ event.action_type }}</td>"
    "<td>{{ event.model }}</td><td>{{ event.input_tokens }} + {{ event.output_tokens }}</td>"
    "<td>{{ event.credits }}</td><td>{{ event.balance_after }}</td></tr>{% endfor %}"
)

_PASSED_OVER = re.compile(rb"(\d+) passed over")


# The service: as `groat serve` runs it, with a page's stream that needs no session.


def serve() -> None:
    """Run the service until it is told to end."""
    service = Service(Address(os.environ["DATABASE_URL"], os.environ["GROAT_SCHEMA"]))
    app = create_app(service)
    app.add_route(_STREAM, _stream)
    config = uvicorn.Config(
        HotRoutes(app, app.state, service.gauges), http=_Protocol, log_config=None, access_log=False
    )
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(os.environ["GROAT_PORT"])))
        _Server(config, service).run(sockets=[listener])


async def _stream(request: Request) -> Response:
    return feed_stream(request.app.state.feed, FeedFilter(), _rows, _allow)


def _rows(events: Sequence[FeedEvent], skipped: int) -> str:
    return _ROWS.render(events=events, skipped=skipped)


async def _allow() -> bool:
    return True


# Those who read.


class Readers:
    """So many open streams, and how many rows they were sent in all, those included that were only counted."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.rows = 0

    @asynccontextmanager
    async def reading(self, number: int) -> AsyncIterator[None]:
        """Keep so many streams open for as long as the block lasts."""
        streams = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(number)]
        for _, writer in streams:
            writer.write(f"GET {_STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        for reader, _ in streams:
            await reader.readuntil(b"retry: ")
        tasks = [asyncio.create_task(self._read(reader)) for reader, _ in streams]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for _, writer in streams:
                writer.close()

    async def wait_for(self, rows: int) -> None:
        """Wait until there are so many rows in all, or some seconds have gone."""
        until = time.monotonic() + _GRACE_SECONDS
        while self.rows < rows and time.monotonic() < until:  # noqa: ASYNC110 - readers come and go
            await asyncio.sleep(_LOOK_SECONDS)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            self.rows += line.count(b"<tr><td><time") + sum(map(int, _PASSED_OVER.findall(line)))


# The load of so many charges a second, from a process of its own.


async def run_paced(port: int, token: str, users: int, seconds: float) -> Answered:
    """Charge RATE times a second in a process of its own. Raises RuntimeError where a charge was refused."""
    given = json.dumps({"port": port, "token": token, "users": users, "seconds": seconds})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.live", "--load", given, stdout=subprocess.PIPE
    )
    told, _ = await process.communicate()
    answered = Answered(**json.loads(told))
    if set(answered.statuses) - {"201", "200"}:
        raise RuntimeError(f"not every charge was taken: {answered.statuses}")
    return answered


async def _paced(port: int, token: str, users: int, seconds: float) -> Answered:
    times: list[float] = []
    statuses: dict[str, int] = {}
    cpu, began = time.process_time(), time.perf_counter() + 0.05
    due = list(range(int(RATE * seconds)))[::-1]

    async def sender() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while due:
            number = due.pop()
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
            body = json.dumps(
                {
                    "user": number * 7919 % users + 1,
                    "action_type": ACTION_TYPE,
                    "model": MODEL,
                    "input_tokens": INPUT_TOKENS,
                    "output_tokens": OUTPUT_TOKENS,
                    "idempotency_key": str(uuid4()),
                }
            )
            started = time.perf_counter()
            writer.write(
                f"POST /api/v1/usage HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            answer = b""
            while not is_complete(answer):
                answer += await reader.read(65_536)
            times.append(time.perf_counter() - started)
            status = answer[9:12].decode()
            statuses[status] = statuses.get(status, 0) + 1
        writer.close()

    await asyncio.gather(*(sender() for _ in range(_SENDERS)))
    times.sort()
    took = time.perf_counter() - began
    return Answered(
        len(times), took, percentile(times, 0.5), percentile(times, 0.99), time.process_time() - cpu, statuses
    )


def judge(measured: Measured, told: float) -> list[Verdict]:
    """Return the goals of the live feed."""
    paced, full = f"{RATE} a second", f"{CALLERS} connections"
    watched, alone = measured.median(f"{paced}, watched"), measured.median(f"{paced}, nobody looks")
    ratio = measured.ratio(f"{full}, watched", f"{full}, nobody looks")
    return [
        Verdict(
            "live", f"{paced}: p50 with {READERS} readers against none", watched.p50 / alone.p50, 1.1, at_least=False
        ),
        Verdict("live", f"{paced}: p99, the same", watched.p99 / alone.p99, 2, at_least=False),
        Verdict("live", f"{paced}: of what is booked, each reader is told", told, 1),
        Verdict("live", f"{full}: charges a second with {READERS} readers against none", ratio, 0.8),
    ]


async def main(size: Size, server: Server, address: Address) -> None:
    """Start the service, measure, print."""
    del server
    await fill(address, size.users)
    async with open_ledger(address) as ledger:
        token = await service_token(ledger)
    with ExitStack() as stack:
        meter = Meter(address.url)
        stack.callback(meter.close)
        port, pid = stack.enter_context(running_service(address, "-m", "benchmarks.live", "--serve"))
        readers = Readers(port)
        full = partial(
            Load, port=port, path="/api/v1/usage", connections=CALLERS, first_user=1, last_user=size.users, token=token
        )
        booked = 0

        async def paced(number: int, seconds: float) -> Answered:
            nonlocal booked
            before = readers.rows
            async with readers.reading(number):
                answered = await run_paced(port, token, size.users, max(seconds, 0.2))
                await readers.wait_for(before + answered.charges * number)
            booked += answered.charges * number
            watched.append(readers.rows - before)
            return answered

        async def unpaced(number: int, seconds: float) -> Answered:
            async with readers.reading(number):
                return await run_load(full(seconds=seconds))

        watched: list[int] = []
        sides = [
            Side(f"{RATE} a second, nobody looks", partial(paced, 0), service=pid),
            Side(f"{RATE} a second, watched", partial(paced, READERS), service=pid),
            Side(f"{CALLERS} connections, nobody looks", partial(unpaced, 0), service=pid),
            Side(f"{CALLERS} connections, watched", partial(unpaced, READERS), service=pid),
        ]
        measured = await in_turn(sides, meter, size)
    show("Charges while the feed is watched, medians", measured, lambda name: f"{name.split(', ')[0]}, nobody looks")
    goals = judge(measured, sum(watched) / booked)
    show_goals(goals)
    keep(size, "live", measured, goals)


def _begin() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--load")
    given, rest = parser.parse_known_args()
    if given.serve:
        serve()
    elif given.load:
        print(json.dumps(asdict(uvloop.run(_paced(**json.loads(given.load))))))
    else:
        sys.argv[1:] = rest
        on_server(partial(main, read_size(__doc__)[0]))


if __name__ == "__main__":
    _begin()
