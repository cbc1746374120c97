"""The web server: what is written at once, and that nothing is kept back."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any, cast

import pytest

from groat_server.http.server import JoinedWrites
from tests.http.api import new_key

if TYPE_CHECKING:
    from tests.http.api import Api


class Recorded:
    """A transport that only notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def write(self, data: bytes) -> None:
        """Note it."""
        self.told.append(data)

    def close(self) -> None:
        """Note it."""
        self.told.append("close")

    def is_closing(self) -> bool:
        """Whether it was told to close."""
        return "close" in self.told


@pytest.fixture
def transport() -> Recorded:
    return Recorded()


def joined(transport: Recorded) -> JoinedWrites:
    return JoinedWrites(cast("Any", transport))


@pytest.mark.anyio
async def test_what_is_written_in_one_turn_goes_at_once(transport: Recorded) -> None:
    writes = joined(transport)
    for answer in (b"head", b"other head"):
        writes.write(answer)
        writes.write(b" and body")
        assert answer + b" and body" not in transport.told
        await asyncio.sleep(0)
    assert transport.told == [b"head and body", b"other head and body"]


@pytest.mark.anyio
async def test_what_is_written_last_goes_before_the_end(transport: Recorded) -> None:
    writes = joined(transport)
    writes.write(b"last words")
    writes.close()
    assert writes.is_closing()
    await asyncio.sleep(0)
    assert transport.told == [b"last words", "close"]


@pytest.mark.anyio
async def test_what_is_much_is_not_kept_back(transport: Recorded) -> None:
    writes = joined(transport)
    for _ in range(3):
        writes.write(b"x" * 40_000)
    assert [len(cast("bytes", part)) for part in transport.told] == [80_000]
    await asyncio.sleep(0)
    assert [len(cast("bytes", part)) for part in transport.told] == [80_000, 40_000]


def connection_to(api: Api) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=30)


def test_a_client_that_waits_to_be_told_to_go_on_is_told(api: Api) -> None:
    use = {"user": api.new_user(), "action_type": "unit", "quantity": 1, "idempotency_key": new_key()}
    body = json.dumps(use).encode()
    head = (
        f"POST /api/v1/usage HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {api.token}\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with connection_to(api) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")


def test_requests_sent_in_one_go_are_answered_in_their_order(api: Api) -> None:
    user = api.new_user()
    requests = []
    for number in range(20):
        use = {"user": user, "action_type": "unit", "quantity": number, "idempotency_key": new_key()}
        body = json.dumps(use)
        requests.append(
            f"POST /api/v1/usage HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {api.token}\r\n"
            f"Content-Type: application/json\r\nX-Request-Id: in-one-go-{number}\r\n"
            f"Content-Length: {len(body)}\r\n{'Connection: close' if number == 19 else 'X-More: 1'}\r\n\r\n{body}"
        )
    with connection_to(api) as connection:
        connection.sendall("".join(requests).encode())
        answers = b""
        while part := connection.recv(65536):
            answers += part
    told = [line.partition(b": ")[2] for line in answers.splitlines() if line.startswith(b"x-request-id: ")]
    assert told == [f"in-one-go-{number}".encode() for number in range(20)]
    assert answers.count(b"HTTP/1.1 201 ") == 20
    assert api.balance(user) == 100 - sum(range(20))


def test_an_answer_without_a_body_comes(api: Api) -> None:
    with connection_to(api) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.endswith(b"\r\n\r\n")
