"""Holds of both clients against a running service: whatever ends a block, what was held is charged or free again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
from psycopg.rows import dict_row
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route

import groat
from groat import AsyncGroat, Groat
from groat_server.embedded.waiting import wait_for
from tests.client.blocks import next_of, passing, run, run_async, source
from tests.http.api import Api, new_key
from tests.services import environment, threaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from groat_server.database import Address
    from tests.client.conftest import Meter

LAMP: dict[str, Any] = {"action": "chat", "model": "lamp", "input_tokens": 1000, "max_output_tokens": 2000}
"""1,000 tokens for 1 USD a million and 2,000 for 2: 0.05 credits."""

ESTIMATED = {"estimated": True}
INTERRUPTED = {"estimated": True, "interrupted": True}


@dataclass(frozen=True)
class Books:
    """What the ledger has of users, read with SQL."""

    address: Address

    def rows(self, query: str, **parameters: object) -> list[dict[str, Any]]:
        """Run a query."""
        with psycopg.connect(self.address.url, row_factory=dict_row) as connection:
            return connection.execute(query, parameters).fetchall()

    def holds(self, user: str) -> list[str]:
        """Return the states of a user's holds, oldest first."""
        query = """SELECT state FROM credit_holds AS hold JOIN users ON users.id = hold.user_id
            WHERE email = %(user)s ORDER BY hold.id"""
        return [row["state"] for row in self.rows(query, user=user)]

    def events(self, user: str) -> list[tuple[int, int, dict[str, Any] | None]]:
        """Return what was charged to a user: tokens in, tokens out, metadata."""
        query = """SELECT input_tokens, output_tokens, metadata FROM credit_usage_events AS event
            JOIN users ON users.id = event.user_id WHERE email = %(user)s ORDER BY event.version"""
        return [(row["input_tokens"], row["output_tokens"], row["metadata"]) for row in self.rows(query, user=user)]

    def available_around_the_end(self, user: str) -> tuple[Any, Any]:
        """Return what is available one microsecond before the end of a user's only hold, and at its end."""
        query = """SELECT
                current_balance - held_credits(users.id, hold.expires_at - interval '1 microsecond') AS before,
                current_balance - held_credits(users.id, hold.expires_at) AS after
            FROM users JOIN user_credit_balances AS balance ON balance.user_id = users.id
            JOIN credit_holds AS hold ON hold.user_id = users.id WHERE email = %(user)s"""
        (row,) = self.rows(query, user=user)
        return row["before"], row["after"]


@pytest.fixture(scope="module")
def books(address: Address) -> Books:
    return Books(address)


def figures(api: Api, user: str) -> tuple[Any, Any, Any]:
    """Return a user's balance, what is held of it and what is available."""
    balance = api.get(f"/api/v1/admin/users/{user}").body["balance"]
    return balance["current_balance"], balance["held"], balance["available"]


# --- one block


def test_a_capture_charges_what_was_used_and_frees_the_rest(meter: Meter, api: Api, books: Books) -> None:
    user = api.new_user()

    def body(hold: Any) -> Generator[Any, Any, None]:
        assert (hold.amount, hold.available) == (Decimal("0.05"), Decimal("99.95"))
        assert figures(api, user) == (100, Decimal("0.05"), Decimal("99.95"))
        receipt = yield hold.capture(input_tokens=1000, output_tokens=500)
        assert (receipt.credits_charged, receipt.balance) == (Decimal("0.02"), Decimal("99.98"))
        assert (receipt.hold_id, receipt.exceeded_hold, receipt.late_capture) == (hold.id, False, False)

    meter.hold(body, user, **LAMP)
    assert figures(api, user) == (Decimal("99.98"), 0, Decimal("99.98"))
    assert (books.holds(user), books.events(user)) == (["captured"], [(1000, 500, None)])


def test_all_that_can_be_said_of_a_hold_and_its_capture_is_taken(meter: Meter, api: Api, books: Books) -> None:
    user = api.new_user()

    def body(hold: Any) -> Generator[Any, Any, None]:
        yield hold.renew(7200)
        receipt = yield hold.capture(
            input_tokens=10, output_tokens=5, cache_read_tokens=2, cache_write_tokens=1, reasoning_tokens=3,
            quantity=Decimal("1.50"), action="summary", model="lamp", provider="house", api_cost=Decimal("5E-8"),
            description="other words", session_id="s", metadata={"b": 2},
        )  # fmt: skip
        assert (str(receipt.credits_charged), receipt.price.cost_source) == ("0.0000005", "caller")

    meter.hold(
        body, user, action="chat", model="lamp", provider="house", input_tokens=1, max_output_tokens=1, quantity=2,
        amount="0.5", ttl=3600, description="words", metadata={"a": 1}, idempotency_key=new_key(),
    )  # fmt: skip
    assert books.events(user) == [(10, 5, {"a": 1, "b": 2})]


def test_without_the_credits_the_model_is_not_called(meter: Meter, api: Api, books: Books) -> None:
    user = api.new_user(monthly_allowance=1)
    with pytest.raises(groat.InsufficientCredits) as refusal:
        meter.hold(lambda _: pytest.fail("the model was called"), user, action="unit", amount="1.5")
    error = refusal.value
    assert (error.required, error.available, error.held) == (Decimal("1.5"), Decimal(1), Decimal(0))
    assert books.holds(user) == []


def test_more_than_was_held_is_charged_in_full_and_so_is_what_comes_late(meter: Meter, api: Api) -> None:
    user = api.new_user()

    def more(hold: Any) -> Generator[Any, Any, None]:
        receipt = yield hold.capture(quantity=3)
        assert (receipt.credits_charged, receipt.exceeded_hold, receipt.late_capture) == (3, True, False)

    def late(hold: Any) -> Generator[Any, Any, None]:
        yield hold.release()
        receipt = yield hold.capture(quantity=1)
        assert (receipt.credits_charged, receipt.exceeded_hold, receipt.late_capture) == (1, False, True)

    meter.hold(more, user, action="unit", quantity=2)
    meter.hold(late, user, action="unit", quantity=2)
    assert figures(api, user) == (96, 0, 96)


def test_of_a_user_in_demo_mode_nothing_is_kept(meter: Meter, api: Api, books: Books) -> None:
    user = api.new_user(demo_mode=True)

    def body(hold: Any) -> Generator[Any, Any, None]:
        assert (hold.tracked, hold.id, hold.amount) == (False, None, Decimal("0.05"))
        yield from passing(hold.stream(source(meter.kind, ["abc"] * 9), tokens=len))
        yield hold.renew()
        assert (yield hold.capture()).tracked is False

    meter.hold(body, user, **LAMP)
    assert (books.holds(user), books.events(user)) == ([], [])


# --- what ends a block early


def test_a_stream_that_its_reader_leaves_after_five_chunks(meter: Meter, api: Api, books: Books) -> None:
    user = api.new_user()

    def body(hold: Any) -> Generator[Any, Any, None]:
        stream = hold.stream(source(meter.kind, ["abc"] * 9), tokens=len)
        for _ in range(5):
            yield next_of(stream)

    meter.hold(body, user, **LAMP)
    assert (books.holds(user), books.events(user)) == (["captured"], [(1000, 15, INTERRUPTED)])
    assert figures(api, user) == (Decimal("99.9897"), 0, Decimal("99.9897"))


@pytest.mark.parametrize(("on_error", "expected"), [("capture", [(1000, 6, INTERRUPTED)]), ("release", [])])
def test_a_provider_that_fails_in_mid_stream(
    meter: Meter, api: Api, books: Books, on_error: str, expected: list[Any]
) -> None:
    user = api.new_user()

    def body(hold: Any) -> Generator[Any, Any, None]:
        chunks = source(meter.kind, ["abc", "abc", OSError("the provider is gone")])
        yield from passing(hold.stream(chunks, tokens=len))

    with pytest.raises(OSError, match="gone"):
        meter.hold(body, user, **LAMP, on_error=on_error)
    assert books.events(user) == expected
    assert books.holds(user) == ["captured" if expected else "released"]
    assert figures(api, user)[1] == 0


def test_a_provider_that_fails_at_once(meter: Meter, api: Api, books: Books) -> None:
    user = api.new_user()

    def body(_hold: Any) -> None:
        raise OSError("the provider is down")

    with pytest.raises(OSError, match="down"):
        meter.hold(body, user, **LAMP)
    assert (books.holds(user), books.events(user)) == (["released"], [])
    assert figures(api, user) == (100, 0, 100)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, SystemExit])
def test_a_block_that_is_interrupted(meter: Meter, api: Api, books: Books, interruption: type[BaseException]) -> None:
    user = api.new_user()

    def body(hold: Any) -> None:
        hold.saw(output_tokens=6)
        raise interruption

    with pytest.raises(interruption):
        meter.hold(body, user, **LAMP)
    assert (books.holds(user), books.events(user)) == (["captured"], [(1000, 6, INTERRUPTED)])


def test_a_task_that_is_cancelled(api: Api, books: Books) -> None:
    user = api.new_user()

    async def block(client: AsyncGroat, begun: asyncio.Event) -> None:
        async with client.hold(user, **LAMP) as hold:
            hold.saw(output_tokens=6)
            begun.set()
            await asyncio.Event().wait()

    async def cancelled() -> None:
        begun = asyncio.Event()
        async with AsyncGroat(api.url, api.token) as client:
            task = asyncio.ensure_future(block(client, begun))
            await begun.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert (books.holds(user), books.events(user)) == (["captured"], [(1000, 6, INTERRUPTED)])


@contextmanager
def chat(api: Api, user: str) -> Iterator[str]:
    """Serve an application that streams five chunks of an answer, and then nothing more."""

    async def provider() -> AsyncIterator[str]:
        for _ in range(5):
            yield "abc"
        await asyncio.Event().wait()

    async def answer() -> AsyncIterator[str]:
        async with (
            AsyncGroat(api.url, api.token) as client,
            client.hold(user, **LAMP) as hold,
        ):
            async for chunk in hold.stream(provider(), tokens=len):
                yield chunk

    async def endpoint(_request: object) -> StreamingResponse:
        return StreamingResponse(answer())

    with threaded(Starlette(routes=[Route("/", endpoint)])) as url:
        yield url


def test_a_browser_that_is_closed_in_mid_answer(api: Api, books: Books) -> None:
    user = api.new_user()
    with chat(api, user) as url:
        with httpx2.stream("GET", url) as response:
            received = ""
            for text in response.iter_text():
                received += text
                if received == "abc" * 5:
                    break
        assert wait_for(lambda: bool(books.events(user)), seconds=30)
    assert (books.holds(user), books.events(user)) == (["captured"], [(1000, 15, INTERRUPTED)])


KILLED = """
import os, signal, sys
from groat import Groat
with Groat() as meter, meter.hold(sys.argv[1], action="unit", quantity=40, ttl=60) as hold:
    hold.saw(quantity=7)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_a_hold_that_ends_by_itself(api: Api, books: Books) -> None:
    user = api.new_user()
    assert api.token is not None
    variables = environment(GROAT_URL=api.url, GROAT_API_KEY=api.token)
    killed = subprocess.run([sys.executable, "-c", KILLED, user], env=variables, check=False, timeout=60)
    assert killed.returncode == -9
    assert figures(api, user) == (100, 40, 60)
    assert books.available_around_the_end(user) == (60, 100)


# --- the same block again


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_block_all_of_whose_answers_are_lost_once(api: Api, books: Books, kind: str) -> None:
    user = api.new_user()
    lost: set[bytes] = set()

    def lose(request: httpx2.Request) -> None:
        if request.content not in lost:
            lost.add(request.content)
            raise httpx2.ReadError("the answer is lost")

    class Lossy(httpx2.HTTPTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            response = super().handle_request(request)
            response.read()
            lose(request)
            return response

    class AsyncLossy(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            await response.aread()
            lose(request)
            return response

    def body(hold: Any) -> Generator[Any, Any, None]:
        receipt = yield hold.capture(quantity=2)
        assert (receipt.replayed, receipt.credits_charged) == (True, 2)

    async def block() -> None:
        async with AsyncGroat(api.url, api.token, transport=AsyncLossy()) as client:
            await run_async(client, body, user, action="unit", quantity=3)

    if kind == "async":
        asyncio.run(block())
    else:
        with Groat(api.url, api.token, transport=Lossy()) as client:
            run(client, body, user, action="unit", quantity=3)
    assert books.holds(user) == ["captured"]
    assert figures(api, user) == (98, 0, 98)
    assert len(lost) == 3


def test_after_a_crash_the_same_block_takes_up_its_hold_and_is_charged_once(
    meter: Meter, api: Api, books: Books
) -> None:
    user, key = api.new_user(), new_key()
    use: dict[str, Any] = {"action": "unit", "quantity": 60, "idempotency_key": key}
    with Groat(api.url, api.token) as crashing:
        crashed = crashing.hold(user, **use)
        crashed.__enter__()  # and never left

    def body(hold: Any) -> Generator[Any, Any, None]:
        assert (hold.id, hold.available) == (crashed.id, 40)
        yield hold.capture(quantity=5)

    meter.hold(body, user, **use)
    with pytest.raises(groat.HoldClosed) as closed:
        meter.hold(lambda _: pytest.fail("the model was called"), user, **use)
    assert closed.value.code == "hold_captured"
    assert books.holds(user) == ["captured"]
    assert figures(api, user) == (95, 0, 95)


def test_a_block_that_is_tried_again_after_a_failure_holds_again(meter: Meter, api: Api, books: Books) -> None:
    user, key, held = api.new_user(), new_key(), []

    def body(hold: Any) -> Generator[Any, Any, None]:
        held.append((hold.id, figures(api, user)[1]))
        if len(held) < 3:
            raise OSError("the provider is down")
        yield hold.capture()

    for _ in range(3):
        with suppress(OSError):
            meter.hold(body, user, action="unit", quantity=60, idempotency_key=key)
    assert len({name for name, _ in held}) == 3
    assert [amount for _, amount in held] == [60, 60, 60]
    assert books.holds(user) == ["released", "released", "captured"]
    assert figures(api, user) == (40, 0, 40)


# --- the rest of the ledger


def test_credits_are_granted_adjusted_refunded_and_voided_once_for_each_key(meter: Meter, api: Api) -> None:
    user = api.new_user()
    first, second = (meter.call("charge", user, action="unit", quantity=amount).id for amount in (10, 20))
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[str, int, int]]] = [
        ("grant", (50,), {"kind": "purchase", "cost_basis": "0.08", "reason": "paid"}, ("granted", 50, 120)),
        ("adjust", (-5,), {"reason": "agreed"}, ("adjusted", -5, 115)),
        ("refund", (first,), {"amount": 4, "reason": "half of it failed"}, ("refunded", 4, 119)),
        ("void", (second,), {"reason": "a test"}, ("voided", 20, 139)),
    ]
    for method, arguments, named, expected in calls:
        key = new_key()
        done, again = (meter.call(method, user, *arguments, **named, idempotency_key=key) for _ in range(2))
        assert (done.outcome, done.amount, done.balance, done.available) == (*expected, expected[-1])
        assert (done.replayed, again.replayed, again.balance, again.recorded_at) == (
            False, True, done.balance, done.recorded_at,
        )  # fmt: skip
        with pytest.raises(groat.IdempotencyConflict):
            meter.call("adjust", user, 1, reason="another use of the key", idempotency_key=key)
    with pytest.raises(groat.APIError) as unknown:
        meter.call("refund", user, 10**9, reason="no such event")
    assert (type(unknown.value), unknown.value.code) == (groat.APIError, "unknown_event")
