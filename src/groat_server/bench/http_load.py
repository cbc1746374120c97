"""Load over HTTP, from a process of its own: `python -m groat_server.bench.http_load` with a `Load` as JSON.

As cheap as Python can be, because it shares the machine with what it measures: one protocol object a connection, no
HTTP client. It understands answers with a Content-Length, which are all that the measured services give.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from groat_server.bench.sampling import ACTION_TYPE, INPUT_TOKENS, KEY_LENGTH, MODEL, OUTPUT_TOKENS, percentile

_BLANK_LINE = b"\r\n\r\n"
_LENGTH = b"content-length:"
_KEY_BITS = KEY_LENGTH * 4
_GRACE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`connections` charge users `first_user` to `last_user` for so many seconds, `batch` charges a request."""

    port: int
    path: str
    connections: int
    seconds: float
    first_user: int
    last_user: int
    token: str = ""
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a load: charges in requests that were answered as they should be; times and CPU in seconds."""

    charges: int
    seconds: float
    p50: float
    p99: float
    cpu: float
    statuses: dict[str, int]

    @property
    def rate(self) -> float:
        """Charges a second."""
        return self.charges / self.seconds


async def run_load(load: Load) -> Answered:
    """Run a load in a process of its own. Raises RuntimeError where a request was not answered with 2xx."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, json.dumps(asdict(load)), stdout=subprocess.PIPE
    )
    told, _ = await asyncio.wait_for(process.communicate(), load.seconds + _GRACE_SECONDS)
    answered = Answered(**json.loads(told))
    if any(not status.startswith("2") for status in answered.statuses):
        raise RuntimeError(f"not every charge was taken: {answered.statuses}")
    return answered


class _Run:
    """What all connections share: the requests to make, and what became of them."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._chance = random.Random(1)  # noqa: S311 - spreads load, guards nothing
        self._bits = random.Random()  # noqa: S311 - the same
        self._head = (
            f"POST {load.path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {load.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self.times: list[float] = []
        self.statuses: Counter[bytes] = Counter()
        self.until = 0.0
        self.open = load.connections
        self.done = asyncio.Event()

    def request(self) -> bytes:
        count = self._load.batch
        body = self._charge() if count == 1 else f'{{"events":[{",".join(self._charge() for _ in range(count))}]}}'
        return f"{self._head}{len(body)}\r\n\r\n{body}".encode("ascii")

    def _charge(self) -> str:
        user = self._chance.randint(self._load.first_user, self._load.last_user)
        return (
            f'{{"user":{user},"action_type":"{ACTION_TYPE}","model":"{MODEL}","input_tokens":{INPUT_TOKENS},'
            f'"output_tokens":{OUTPUT_TOKENS},'
            f'"idempotency_key":"{self._bits.getrandbits(_KEY_BITS):0{KEY_LENGTH}x}"}}'
        )

    def closed(self) -> None:
        self.open -= 1
        if not self.open:
            self.done.set()


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = b""
        self._started = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if not is_complete(received):
            self._received = received
            return
        self._received = b""
        self._run.times.append(time.perf_counter() - self._started)
        self._run.statuses[received[9:12]] += 1
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None or self._received:
            self._run.statuses[b"lost"] += 1
        self._run.closed()

    def _send(self) -> None:
        request = self._run.request()
        self._started = time.perf_counter()
        if self._started < self._run.until:
            self._transport.write(request)
        else:
            self._transport.close()


def is_complete(answer: bytes) -> bool:
    """Whether an answer has arrived whole. Raises RuntimeError where it does not say how long it is."""
    end = answer.find(_BLANK_LINE)
    if end < 0:
        return False
    head = answer[:end].lower()
    at = head.find(_LENGTH)
    if at < 0:
        raise RuntimeError(f"an answer without its length: {head!r}")
    length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0])
    return len(answer) >= end + len(_BLANK_LINE) + length


async def _perform(load: Load) -> Answered:
    run = _Run(load)
    cpu, began = time.process_time(), time.perf_counter()
    run.until = began + load.seconds
    loop = asyncio.get_running_loop()
    connections = (
        loop.create_connection(lambda: _Connection(run), "127.0.0.1", load.port) for _ in range(load.connections)
    )
    await asyncio.gather(*connections)
    await run.done.wait()
    took = time.perf_counter() - began
    times = sorted(run.times)
    statuses = {status.decode("ascii", "replace"): count for status, count in run.statuses.items()}
    charges = len(times) * load.batch
    return Answered(charges, took, percentile(times, 0.5), percentile(times, 0.99), time.process_time() - cpu, statuses)


def _main() -> None:
    import uvloop  # noqa: PLC0415 - needed in the load's own process only

    print(json.dumps(asdict(uvloop.run(_perform(Load(**json.loads(sys.argv[1])))))))  # noqa: T201 - that is its answer


if __name__ == "__main__":
    _main()
