"""Two services on one ledger: what many clients do at once, and what clients find who went away too early."""

from __future__ import annotations

import json
import select
import socket
import struct
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, TypeVar

import pytest

from groat_server.embedded.waiting import wait_for
from tests.auditor import audit
from tests.conftest import fresh_ledger
from tests.http.api import Api, new_key
from tests.http.hostile import BATCH_BYTES_MAX, BODY_BYTES_MAX
from tests.operations.ledgers import ask, connect
from tests.services import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from groat_server.database import Address
    from groat_server.embedded import Server
    from tests.http.api import Answer

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def address(server: Server, template: str) -> Iterator[Address]:
    """Lend the ledger of these tests; it is audited when the last of them is over."""
    with fresh_ledger(server, template) as lent:
        yield lent


@pytest.fixture(scope="module")
def two_services(address: Address, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Api]]:
    """Run two services on it and lend an administrator's client of each. The first test meets them cold."""
    with (
        serving(address, tmp_path_factory.mktemp("services"), services=2) as (one, other),
        Api.as_admin(one.url, address) as first,
        Api.as_admin(other.url, address) as second,
    ):
        yield first, second


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Make all calls at once; the results are in their order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def alternating(services: tuple[Api, Api], number: int) -> Iterator[Api]:
    return islice(cycle(services), number)


def charged(address: Address, email: str) -> list[Decimal]:
    """Return what the rows say that a user was charged, in the order of booking."""
    events = "SELECT credits_charged FROM credit_usage_events JOIN users ON users.id = user_id"
    return [row[0] for row in ask(address, f"{events} WHERE email = %s ORDER BY version", (email,))]


@pytest.mark.parametrize("price", [1, "0.3", "2.5"])
def test_of_64_parallel_enforced_charges_exactly_as_many_pass_as_fit(
    two_services: tuple[Api, Api], address: Address, price: object
) -> None:
    user = two_services[0].new_user(monthly_allowance=10)
    calls = [partial(api.charge, user, None, price, mode="enforce") for api in alternating(two_services, 64)]
    answers = at_once(calls)
    fit = int(10 / Decimal(str(price)))
    assert Counter(answer.status for answer in answers) == {201: fit, 402: 64 - fit}
    assert charged(address, user) == [Decimal(str(price))] * fit
    balances = {answer.body["balance"] for answer in answers if answer.status == 201}
    assert balances == {10 - number * Decimal(str(price)) for number in range(1, fit + 1)}
    assert audit(address) == []


def test_batches_of_mixed_sizes_are_greedy_in_order_at_any_concurrency(
    two_services: tuple[Api, Api], address: Address
) -> None:
    user = two_services[0].new_user(monthly_allowance=100)
    sizes = [7, 30, 1, 50, 3, 90, 2]

    def batch(api: Api) -> Answer:
        use = {"user": user, "action_type": "unit", "mode": "enforce"}
        events = [{**use, "quantity": size, "idempotency_key": new_key()} for size in sizes]
        return api.post("/api/v1/usage/batch", {"events": events})

    answers = at_once([partial(batch, api) for api in alternating(two_services, 8)])
    booked: dict[int, Decimal] = {}
    for answer in answers:
        results = answer.body["results"]
        taken = [result for result in results if result["outcome"] == "recorded"]
        booked |= {result["version"]: result["credits_charged"] for result in taken}
        left = taken[0]["balance"] + taken[0]["credits_charged"] if taken else None
        for size, result in zip(sizes, results, strict=True):
            left = result["available"] if left is None else left
            assert (result["outcome"] == "recorded") == (size <= left), (size, left, result)
            left -= size if result["outcome"] == "recorded" else 0
            assert result["available"] == left
    assert charged(address, user) == [booked[version] for version in sorted(booked)]
    assert sum(booked.values()) <= 100
    assert audit(address) == []


def test_a_batch_is_greedy_in_order_also_around_a_refusal(two_services: tuple[Api, Api]) -> None:
    api, _ = two_services
    user = api.new_user(monthly_allowance=10)
    use = {"user": user, "action_type": "unit", "mode": "enforce"}
    sizes = [4, 7, 6, 1, 0]
    events = [{**use, "quantity": size, "idempotency_key": new_key()} for size in sizes]
    events.insert(2, {**use, "quantity": 3, "mode": "record", "idempotency_key": new_key()})
    results = api.post("/api/v1/usage/batch", {"events": events}).body["results"]
    refused = "insufficient_credits"
    assert [result["outcome"] for result in results] == [
        "recorded",
        refused,
        "recorded",
        refused,
        "recorded",
        "recorded",
    ]
    assert [result["available"] for result in results] == [6, 6, 3, 3, 2, 2]


def test_a_key_sent_fifty_times_at_once_is_charged_once_and_answered_alike(
    two_services: tuple[Api, Api], address: Address
) -> None:
    user, key = two_services[0].new_user(), new_key()
    answers = at_once([partial(api.charge, user, key, 7) for api in alternating(two_services, 50)])
    assert Counter(answer.status for answer in answers) == {201: 1, 200: 49}
    for answer in answers:
        assert answer.body["replayed"] == (answer.status == 200)
        assert answer.headers.get("idempotent-replayed") == ("true" if answer.status == 200 else None)
    alike = [{**answer.texts, "replayed": "", "outcome": ""} for answer in answers]
    assert alike == [alike[0]] * 50
    assert charged(address, user) == [7]


def test_one_key_with_two_contents_at_once_is_one_charge_and_conflicts(
    two_services: tuple[Api, Api], address: Address
) -> None:
    user, key = two_services[0].new_user(), new_key()
    sizes = [3, 5] * 10
    answers = at_once(
        [partial(api.charge, user, key, size) for api, size in zip(alternating(two_services, 20), sizes, strict=True)]
    )
    (size,) = charged(address, user)
    assert Counter(answer.status for answer in answers) == {201: 1, 200: 9, 409: 10}
    assert {answer.body["credits_charged"] for answer in answers if answer.status < 400} == {size}


def test_many_users_charged_by_both_services_add_up(two_services: tuple[Api, Api], address: Address) -> None:
    users = [two_services[0].new_user(monthly_allowance=5) for _ in range(4)]

    def batch(api: Api, shift: int) -> Answer:
        order = [*users[shift:], *users[:shift]]
        events = [
            {"user": user, "action_type": "unit", "quantity": 1, "mode": "enforce", "idempotency_key": new_key()}
            for user in order * 2
        ]
        return api.post("/api/v1/usage/batch", {"events": events})

    calls = [partial(batch, api, shift % 4) for shift, api in enumerate(alternating(two_services, 16))]
    answers = at_once(calls)
    assert sum(answer.body["recorded"] for answer in answers) == 20
    assert [len(charged(address, user)) for user in users] == [5] * 4
    assert audit(address) == []


def test_what_one_service_is_told_the_other_knows_at_once(two_services: tuple[Api, Api]) -> None:
    one, other = two_services
    user, key = one.new_user(), new_key()
    one.charge(user, key)
    assert other.charge(user, key).headers["idempotent-replayed"] == "true"
    assert other.get("/api/v1/me/credits").status == 200
    token = one.new_token(user)
    assert other.with_token(token).get("/api/v1/me/credits").body["current_balance"] == 99


# --- clients that go away ---------------------------------------------------------------------------------------------


@contextmanager
def sent(api: Api, body: bytes, *, bytes_sent: int | None = None, reset: bool = False) -> Iterator[None]:
    """Send a charge, or so many bytes of its body, and go away without reading when the block is over."""
    head = (
        f"POST /api/v1/usage HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {api.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2]))) as connection:
        if reset:  # closing sends a reset, and nothing that is on its way is waited for
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(head.encode() + body[:bytes_sent])
        yield


@pytest.mark.parametrize("reset", [False, True])
def test_after_a_cut_connection_a_retry_tells_the_one_true_outcome(
    two_services: tuple[Api, Api], address: Address, *, reset: bool
) -> None:
    one, other = two_services
    user = one.new_user()
    keys = [new_key() for _ in range(30)]
    for key in keys:
        use = {"user": user, "action_type": "unit", "quantity": 1, "idempotency_key": key}
        with sent(one, json.dumps(use).encode(), reset=reset):
            pass
    answers = at_once([partial(other.charge, user, key) for key in keys])
    assert {answer.status for answer in answers} <= {200, 201}
    assert charged(address, user) == [1] * 30
    again = [one.charge(user, key) for key in keys]
    assert [answer.status for answer in again] == [200] * 30
    assert [answer.body["id"] for answer in again] == [answer.body["id"] for answer in answers]
    assert other.balance(user) == 70


def test_half_a_request_charges_nothing(two_services: tuple[Api, Api], address: Address) -> None:
    one, _ = two_services
    user, key = one.new_user(), new_key()
    body = json.dumps({"user": user, "action_type": "unit", "quantity": 1, "idempotency_key": key}).encode()
    for bytes_sent in (0, 1, len(body) // 2, len(body) - 1):
        with sent(one, body, bytes_sent=bytes_sent):
            pass
    assert one.charge(user, key).status == 201
    assert charged(address, user) == [1]


def test_a_charge_that_was_under_way_when_its_client_went_is_finished(
    two_services: tuple[Api, Api], address: Address
) -> None:
    one, _ = two_services
    user = one.new_user()
    use = {"user": user, "action_type": "unit", "quantity": 1, "idempotency_key": new_key()}
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with connect(address) as other:
        with other.transaction():
            other.execute("SELECT 1 FROM user_credit_balances WHERE version > 0 FOR UPDATE")
            with sent(one, json.dumps(use).encode()):
                assert wait_for(lambda: bool(ask(address, waiting)), seconds=20)
        assert wait_for(lambda: charged(address, user) == [1], seconds=20)


# --- bodies without an end --------------------------------------------------------------------------------------------


LIMITS = [("/api/v1/usage", BODY_BYTES_MAX), ("/api/v1/usage/batch", BATCH_BYTES_MAX)]
CHUNK = 2**16


@pytest.mark.parametrize(("path", "bytes_max"), LIMITS)
def test_a_body_is_limited_while_it_streams_without_a_length(api: Api, path: str, bytes_max: int) -> None:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {api.token}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"%x\r\n%b\r\n" % (CHUNK, b" " * CHUNK)
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(head.encode())
        for sent in range(0, bytes_max + 1, CHUNK):
            assert not select.select([connection], [], [], 0)[0], f"answered after {sent} bytes"
            connection.sendall(chunk)
        answer = b""
        while b'"request_id"' not in answer:  # there is no end to the body, and yet an answer
            part = connection.recv(CHUNK)
            assert part, answer
            answer += part
    assert b" 413 " in answer.splitlines()[0]
    assert b"application/problem+json" in answer
    assert b'"payload_too_large"' in answer


@pytest.mark.parametrize(("path", "bytes_max"), LIMITS)
def test_a_body_of_just_the_limit_is_read(api: Api, path: str, bytes_max: int) -> None:
    kind = {"Content-Type": "application/json"}
    assert api.send("POST", path, b"{}".ljust(bytes_max), headers=kind).code == (422, "unprocessable")
    assert api.send("POST", path, b"{}".ljust(bytes_max + 1), headers=kind).code == (413, "payload_too_large")
