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
from ._holds import AsyncHold, Hold
from ._requests import HoldTerms, Measures, Remarks, Usage, new_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime, timedelta

    import httpx2

    from ._answers import Balance, Booking, Estimate, Receipt, Refusal
    from ._requests import Amount, GrantKind, Request, User
    from ._settling import OnError

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
        quantity: Amount | None = None,
        provider: str | None = None,
        api_cost: Amount | None = None,
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
        quantity: Amount | None = None,
        provider: str | None = None,
        api_cost: Amount | None = None,
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

    def hold(
        self,
        user: User,
        *,
        action: str,
        model: str | None = None,
        input_tokens: int = 0,
        max_output_tokens: int | None = None,
        quantity: Amount | None = None,
        provider: str | None = None,
        amount: Amount | None = None,
        ttl: timedelta | int | None = None,
        description: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        on_error: OnError = "capture",
        idempotency_key: str | None = None,
    ) -> Hold:
        """Set credits aside for a use while a `with` block runs, and charge what it really took.

            with meter.hold(user, action="chat", model=model, input_tokens=900, max_output_tokens=500) as hold:
                answer = ...
                hold.capture(input_tokens=answer.input_tokens, output_tokens=answer.output_tokens)

        What is set aside is `amount` in credits, or else the most that the use can cost. If that is more than what
        is available, InsufficientCredits is raised and the block does not run.

        A block that ends without a capture is settled by what it saw (`Hold.saw`, `Hold.stream`): that is captured,
        with `"estimated": true` in the metadata. If nothing was seen the hold is released. After an exception,
        GeneratorExit and KeyboardInterrupt among them, the metadata say `"interrupted": true` too; with
        `on_error="release"` nothing is charged then. The exception goes on in any case: where settling fails, it gets
        a note and the log of the name `groat` a warning. A hold that nobody settles ends by itself after `ttl`
        (seconds, or a timedelta; by default 15 minutes).

        The same `idempotency_key` again, after a crash, takes up the hold that is still open, so a use is charged
        once however often the block is begun. Where it was charged before, HoldClosed is raised.
        """
        terms = HoldTerms(
            user=user,
            measures=Measures(
                action=action, model=model, input_tokens=input_tokens, quantity=quantity, provider=provider
            ),
            max_output_tokens=max_output_tokens,
            amount=amount,
            ttl=ttl,
            remarks=Remarks(description, session_id, metadata),
            idempotency_key=new_key() if idempotency_key is None else idempotency_key,
        )
        return Hold(self._call, terms, on_error)

    def balance(self, user: int | str | None = None) -> Balance:
        """Read the credits of a user, or of the user whom the API key belongs to if none is named.

        Another user's credits take an administrator's key or one with the scope `balance:read`.
        Raises APIError for an error answer, NoAnswer for none.
        """
        return self._call(_requests.balance(user))

    def grant(
        self,
        user: User,
        amount: Amount,
        *,
        kind: GrantKind,
        priority: int | None = None,
        cost_basis: Amount | None = None,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Booking:
        """Give a user credits, once for each key: a "purchase" or a "promotion".

        They come at `starts_at` (now) and go at `expires_at` (never). Lots of lower `priority` are spent sooner, so
        promotions go before purchases unless it says otherwise. `cost_basis` are the USD that were paid for each
        credit. Takes the scope `grants:write`. Raises as `charge` does.
        """
        key = new_key() if idempotency_key is None else idempotency_key
        return self._call(
            _requests.grant(
                user,
                key,
                kind=kind,
                amount=amount,
                priority=priority,
                cost_basis=cost_basis,
                starts_at=starts_at,
                expires_at=expires_at,
                reason=reason,
            )
        )

    def adjust(
        self,
        user: User,
        amount: Amount,
        *,
        reason: str,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Booking:
        """Correct a balance by `amount` credits, below 0 for fewer, once for each key.

        Takes the scope `grants:write`. Raises as `charge` does.
        """
        key = new_key() if idempotency_key is None else idempotency_key
        return self._call(_requests.adjust(user, key, amount=amount, expires_at=expires_at, reason=reason))

    def refund(
        self,
        user: User,
        event_id: int,
        *,
        reason: str,
        amount: Amount | None = None,
        idempotency_key: str | None = None,
    ) -> Booking:
        """Give back what a charge has cost, or `amount` credits of it, once for each key; the charge stays.

        `event_id` is the `Receipt.id` of the charge. Takes the scope `grants:write`. Raises as `charge` does.
        """
        key = new_key() if idempotency_key is None else idempotency_key
        return self._call(_requests.refund(user, key, event_id=event_id, amount=amount, reason=reason))

    def void(self, user: User, event_id: int, *, reason: str, idempotency_key: str | None = None) -> Booking:
        """Take a charge that should not have been out of the books, once for each key.

        `event_id` is the `Receipt.id` of the charge. Takes the scope `admin`. Raises as `charge` does.
        """
        key = new_key() if idempotency_key is None else idempotency_key
        return self._call(_requests.void(user, key, event_id=event_id, reason=reason))

    def _call(self, request: Request[T], *, hurried: bool = False) -> T:
        attempts = Attempts(request, min(self._retries, 1) if hurried else self._retries)
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
        quantity: Amount | None = None,
        provider: str | None = None,
        api_cost: Amount | None = None,
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
        quantity: Amount | None = None,
        provider: str | None = None,
        api_cost: Amount | None = None,
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

    def hold(
        self,
        user: User,
        *,
        action: str,
        model: str | None = None,
        input_tokens: int = 0,
        max_output_tokens: int | None = None,
        quantity: Amount | None = None,
        provider: str | None = None,
        amount: Amount | None = None,
        ttl: timedelta | int | None = None,
        description: str | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, object] | None = None,
        on_error: OnError = "capture",
        idempotency_key: str | None = None,
    ) -> AsyncHold:
        """Set credits aside while an `async with` block runs: see `Groat.hold`.

        A task that is cancelled still settles its hold, within five seconds.
        """
        terms = HoldTerms(
            user=user,
            measures=Measures(
                action=action, model=model, input_tokens=input_tokens, quantity=quantity, provider=provider
            ),
            max_output_tokens=max_output_tokens,
            amount=amount,
            ttl=ttl,
            remarks=Remarks(description, session_id, metadata),
            idempotency_key=new_key() if idempotency_key is None else idempotency_key,
        )
        return AsyncHold(self._call, terms, on_error)

    async def balance(self, user: int | str | None = None) -> Balance:
        """Read the credits of a user: see `Groat.balance`."""
        return await self._call(_requests.balance(user))

    async def grant(
        self,
        user: User,
        amount: Amount,
        *,
        kind: GrantKind,
        priority: int | None = None,
        cost_basis: Amount | None = None,
        starts_at: datetime | None = None,
        expires_at: datetime | None = None,
        reason: str | None = None,
        idempotency_key: str | None = None,
    ) -> Booking:
        """Give a user credits: see `Groat.grant`."""
        key = new_key() if idempotency_key is None else idempotency_key
        return await self._call(
            _requests.grant(
                user,
                key,
                kind=kind,
                amount=amount,
                priority=priority,
                cost_basis=cost_basis,
                starts_at=starts_at,
                expires_at=expires_at,
                reason=reason,
            )
        )

    async def adjust(
        self,
        user: User,
        amount: Amount,
        *,
        reason: str,
        expires_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Booking:
        """Correct a balance: see `Groat.adjust`."""
        key = new_key() if idempotency_key is None else idempotency_key
        return await self._call(_requests.adjust(user, key, amount=amount, expires_at=expires_at, reason=reason))

    async def refund(
        self,
        user: User,
        event_id: int,
        *,
        reason: str,
        amount: Amount | None = None,
        idempotency_key: str | None = None,
    ) -> Booking:
        """Give back what a charge has cost: see `Groat.refund`."""
        key = new_key() if idempotency_key is None else idempotency_key
        return await self._call(_requests.refund(user, key, event_id=event_id, amount=amount, reason=reason))

    async def void(self, user: User, event_id: int, *, reason: str, idempotency_key: str | None = None) -> Booking:
        """Take a charge out of the books: see `Groat.void`."""
        key = new_key() if idempotency_key is None else idempotency_key
        return await self._call(_requests.void(user, key, event_id=event_id, reason=reason))

    async def _call(self, request: Request[T], *, hurried: bool = False) -> T:
        attempts = Attempts(request, min(self._retries, 1) if hurried else self._retries)
        while True:
            match attempts.judge(await self._connection.send(request)):
                case Done(result):
                    return result
                case Wait(seconds):
                    await self._sleep(seconds)
