"""The two clients: `Groat` for threads, `AsyncGroat` for an event loop, method for method the same.

What is sent (`_requests`), what comes back (`_answers`, `_errors`) and when to try again
(`_attempts`) they share; what differs is only how they send and how they sleep.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, TypeVar

from . import _requests
from ._address import Address
from ._attempts import Attempts, Done, Wait
from ._requests import Measures, Usage, new_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from decimal import Decimal

    import httpx2

    from ._answers import Balance, Estimate, Receipt, Refusal
    from ._requests import Request, User

T = TypeVar("T")

TIMEOUT_SECONDS = 10.0
RETRIES = 3


class Groat:
    """A client of one Groat service. It keeps connections open and may be shared by threads.

    `url` and `api_key` are read from GROAT_URL and GROAT_API_KEY where they are not given.
    `timeout` bounds, in seconds, each wait for the network within one attempt. After a connection
    error, a timeout or a 429, 502, 503 or 504 the same request is sent again, up to `retries`
    times, with growing pauses. `transport` replaces the network, in tests for example.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        from ._http import Connection  # noqa: PLC0415 (httpx2 is loaded with the first client)

        self._connection = Connection(Address.find(url, api_key), timeout, transport)
        self._retries = retries
        self._sleep = time.sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back; the client is of no use afterwards."""
        self._connection.close()

    def charge(
        self,
        user: User,
        *,
        action: str,
        model: str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
        quantity: Decimal | int | str | None = None,
        provider: str | None = None,
        api_cost: Decimal | int | str | None = None,
        description: str | None = None,
        occurred_at: datetime | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        enforce: bool = False,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Charge a user for one use of AI, exactly once for each idempotency key.

        A use that has happened is always recorded, even below zero (`Receipt.overdrawn`). With
        `enforce` it is refused instead, by InsufficientCredits, if it is more than what is available.

        Give an `idempotency_key` that the use itself brings along; the id of the provider's
        response is best. Then whoever repeats the call, be it after a crash, gets the first receipt
        and no second charge. Without one the client makes a key for this call, which covers its own
        retries and nothing more.

        `input_tokens` includes the cached ones, `output_tokens` those of reasoning. `api_cost`, in
        USD, replaces the price book's cost. Raises APIError for an error answer, OutcomeUnknown
        where the charge may be booked, NoAnswer where it cannot be.
        """
        usage = Usage(
            user,
            action=action,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
            provider=provider,
            api_cost=api_cost,
            description=description,
            occurred_at=occurred_at,
            session_id=session_id,
            metadata=metadata,
            enforce=enforce,
            idempotency_key=new_key() if idempotency_key is None else idempotency_key,
        )
        return self._call(_requests.charge(usage))

    def charge_many(self, usages: Iterable[Usage]) -> list[Receipt | Refusal]:
        """Charge up to 1,000 uses in one call; the results are in the order of the usages.

        Each usage stands alone: one that is refused is a Refusal among the receipts and keeps no
        other from being booked. The same usages may be sent again, since they keep their keys.
        Raises as `charge` does, and ValueError for more than 1,000.
        """
        batch = list(usages)
        return self._call(_requests.charge_many(batch)) if batch else []

    def estimate(
        self,
        user: User | None = None,
        *,
        action: str,
        model: str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
        quantity: Decimal | int | str | None = None,
        provider: str | None = None,
        api_cost: Decimal | int | str | None = None,
        occurred_at: datetime | None = None,
    ) -> Estimate:
        """Price a use without charging anyone; `user` matters only where prices differ by user.

        Raises APIError for an error answer, NoAnswer for none.
        """
        measures = Measures(
            action=action,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
            provider=provider,
            api_cost=api_cost,
            occurred_at=occurred_at,
        )
        return self._call(_requests.estimate(user, measures))

    def balance(self, user: int | str | None = None) -> Balance:
        """Read the credits of a user, or of the user whom the API key belongs to if none is named.

        Another user's credits take an administrator's key or one with the scope `balance:read`.
        Raises APIError for an error answer, NoAnswer for none.
        """
        return self._call(_requests.balance(user))

    def _call(self, request: Request[T]) -> T:
        attempts = Attempts(request, self._retries)
        while True:
            match attempts.judge(self._connection.send(request)):
                case Done(result):
                    return result
                case Wait(seconds):
                    self._sleep(seconds)


class AsyncGroat:
    """A client of one Groat service for `async` code: as `Groat`, with every method awaited."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        retries: int = RETRIES,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        import asyncio  # noqa: PLC0415 (costs 40 ms that `import groat` does without)

        from ._http import AsyncConnection  # noqa: PLC0415 (httpx2 is loaded with the first client)

        self._connection = AsyncConnection(Address.find(url, api_key), timeout, transport)
        self._retries = retries
        self._sleep = asyncio.sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back; the client is of no use afterwards."""
        await self._connection.close()

    async def charge(
        self,
        user: User,
        *,
        action: str,
        model: str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
        quantity: Decimal | int | str | None = None,
        provider: str | None = None,
        api_cost: Decimal | int | str | None = None,
        description: str | None = None,
        occurred_at: datetime | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        enforce: bool = False,
        idempotency_key: str | None = None,
    ) -> Receipt:
        """Charge a user for one use of AI, exactly once for each key: see `Groat.charge`.

        A task that is cancelled meanwhile leaves the charge booked or not. Repeating it with the
        same key tells, so give one of your own.
        """
        usage = Usage(
            user,
            action=action,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
            provider=provider,
            api_cost=api_cost,
            description=description,
            occurred_at=occurred_at,
            session_id=session_id,
            metadata=metadata,
            enforce=enforce,
            idempotency_key=new_key() if idempotency_key is None else idempotency_key,
        )
        return await self._call(_requests.charge(usage))

    async def charge_many(self, usages: Iterable[Usage]) -> list[Receipt | Refusal]:
        """Charge up to 1,000 uses in one call: see `Groat.charge_many`."""
        batch = list(usages)
        return await self._call(_requests.charge_many(batch)) if batch else []

    async def estimate(
        self,
        user: User | None = None,
        *,
        action: str,
        model: str | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_read_tokens: int = 0,
        cache_write_tokens: int = 0,
        reasoning_tokens: int = 0,
        quantity: Decimal | int | str | None = None,
        provider: str | None = None,
        api_cost: Decimal | int | str | None = None,
        occurred_at: datetime | None = None,
    ) -> Estimate:
        """Price a use without charging anyone: see `Groat.estimate`."""
        measures = Measures(
            action=action,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
            provider=provider,
            api_cost=api_cost,
            occurred_at=occurred_at,
        )
        return await self._call(_requests.estimate(user, measures))

    async def balance(self, user: int | str | None = None) -> Balance:
        """Read the credits of a user: see `Groat.balance`."""
        return await self._call(_requests.balance(user))

    async def _call(self, request: Request[T]) -> T:
        attempts = Attempts(request, self._retries)
        while True:
            match attempts.judge(await self._connection.send(request)):
                case Done(result):
                    return result
                case Wait(seconds):
                    await self._sleep(seconds)
