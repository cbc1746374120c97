"""What a hold has to send, and when, decided without any I/O: the base of `Hold` and `AsyncHold`.

It is told in steps: generators that yield each request and are handed its answer. What has to be right is the way out
of the block, whatever leads there: a use that was seen is charged, a hold that was not needed is freed, and the
exception under way is the one that goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from . import _requests
from ._answers import Receipt
from ._errors import APIError, Busy, HoldClosed, HoldExhausted, IdempotencyConflict
from ._requests import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from ._answers import PlacedHold
    from ._requests import Amount, HoldTerms, Measures, Remarks

T = TypeVar("T")
Steps: TypeAlias = Generator[Request[Any], Any, T]
OnError: TypeAlias = Literal["capture", "release"]
AtLimit: TypeAlias = Literal["raise", "end"]

KEY_LENGTH_MAX = 255


class Settling:
    """One hold: what was answered, what was seen, what is still to be said to the service."""

    receipt: Receipt | None = None
    exhausted: bool = False

    def __init__(self, terms: HoldTerms, on_error: OnError) -> None:
        if on_error not in {"capture", "release"}:
            raise ValueError("on_error is either 'capture' or 'release'.")
        self._terms = terms
        self._on_error = on_error
        self._placement: Request[PlacedHold] | None = None
        self._placed: PlacedHold | None = None
        self._seen: Measures | None = None
        self._capture: Request[Receipt] | None = None  # one that was asked for, until its outcome is known
        self._is_settled = False
        self._streams_begun = self._streams_ended = 0

    @property
    def idempotency_key(self) -> str:
        """The key of the hold; that of its capture is derived from it."""
        return self._terms.idempotency_key

    @property
    def id(self) -> str | None:
        """The hold's id; None for a user in demo mode."""
        return self._answer.id

    @property
    def tracked(self) -> bool:
        """Whether anything is set aside and charged: not so for a user in demo mode."""
        return self._answer.tracked

    @property
    def amount(self) -> Decimal | None:
        """The credits set aside; for a user in demo mode those that would be, None where they have no price."""
        return self._answer.amount

    @property
    def available(self) -> Decimal | None:
        """What the user could spend beside this hold when it was placed or last renewed; None in demo mode."""
        return self._answer.available

    @property
    def expires_at(self) -> datetime | None:
        """When the hold ends by itself; None for a user in demo mode."""
        return self._answer.expires_at

    def saw(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        cache_read_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        quantity: Amount | None = None,
    ) -> None:
        """Note what has been used so far, to be charged if the block ends without a capture; nothing is sent.

        These are totals, and the last word on each counts. Input tokens and quantity are those that the hold was
        placed with until something else is said.
        """
        self._seen = self._measured(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_tokens=cache_write_tokens,
            reasoning_tokens=reasoning_tokens,
            quantity=quantity,
        )

    @property
    def _answer(self) -> PlacedHold:
        if self._placed is None:
            raise RuntimeError("A hold is placed as its `with` block is entered.")
        return self._placed

    def _measured(self, **given: object) -> Measures:
        """Return what is given, else what was seen, else what the hold was placed with."""
        known = self._seen or self._terms.measures
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(known, **changes)

    # The way in.

    def _placing(self) -> Steps[None]:
        """Place the hold, or take up the one that an earlier attempt at the block has left open.

        Where that was released or has expired another one is placed, under the next key, so the block never begins
        with nothing set aside. Where it was captured the use has been charged: HoldClosed.
        """
        if self._placement is not None:
            raise RuntimeError("The block of a hold is entered once.")
        for number in count(1):
            key = self.idempotency_key if number == 1 else _derived(self.idempotency_key, str(number))
            self._placement = _requests.place_hold(self._terms, key)
            placed: PlacedHold = yield self._placement
            if (earlier := placed.id) is not None and placed.replayed:
                try:
                    placed = yield _requests.renew_hold(earlier, self._terms.ttl)
                except HoldClosed:
                    yield _requests.release_hold(earlier)  # raises HoldClosed again if it was captured
                    continue
            self._placed = placed
            return

    def _withdrawing(self) -> Steps[None]:
        """Take back a placement that was interrupted: the same again tells which hold it is about."""
        if self._placement is not None:
            placed: PlacedHold = yield self._placement
            if placed.id is not None:
                yield _requests.release_hold(placed.id)

    # Inside.

    def _capturing(self, measures: Measures, remarks: Remarks) -> Steps[Receipt]:
        key = _derived(self.idempotency_key, "capture")
        if self._answer.id is None:
            self.receipt = Receipt("untracked", Decimal(0), None, key, tracked=False, reason=self._answer.reason)
            return self.receipt
        self._capture = _requests.capture_hold(self._answer.id, measures, remarks, key)
        return (yield from self._charging(self._capture))

    def _charging(self, capture: Request[Receipt]) -> Steps[Receipt]:
        try:
            receipt: Receipt = yield capture
        except (HoldClosed, IdempotencyConflict):
            self._capture, self._is_settled = None, True  # by an earlier capture
            raise
        except APIError as error:
            if not isinstance(error, Busy):
                self._capture = None
            raise
        self._capture, self._is_settled, self.receipt = None, True, receipt
        return receipt

    def _releasing(self) -> Steps[None]:
        if self._answer.id is not None:
            yield _requests.release_hold(self._answer.id)
        self._is_settled = True

    def _renewing(self, ttl: timedelta | int | None) -> Steps[None]:
        if self._answer.id is not None:
            self._placed = yield _requests.renew_hold(self._answer.id, self._terms.ttl if ttl is None else ttl)

    def _remarks(self, metadata: Mapping[str, object] | None, **given: str | None) -> Remarks:
        """Return what is given beside what was said of the hold."""
        ours = self._terms.remarks
        changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return replace(ours, **changes, metadata={**(ours.metadata or {}), **(metadata or {})} or None)

    # The way out.

    def _leaving(self, error: BaseException | None) -> Steps[None]:
        """Settle the hold if the block has not.

        A capture that was asked for is sent again where its outcome is not known, whatever the policy.
        """
        if self._is_settled or self._answer.id is None:
            return
        failed = error is not None
        if self._capture is not None:
            yield from self._charging(self._capture)
        elif self._seen is not None and not (failed and self._on_error == "release"):
            cut = failed or self._streams_ended < self._streams_begun
            marks = {"estimated": True, "interrupted": True} if cut else {"estimated": True}
            yield from self._capturing(self._seen, self._remarks(marks))
        else:
            try:
                yield from self._releasing()
            except HoldClosed:
                self._is_settled = True  # captured by somebody else who knows its id

    def _tell(self, error: BaseException, failure: Exception) -> None:
        """Say on the exception that goes on, and in the log, that the hold is not settled: some are never shown."""
        import logging  # noqa: PLC0415 (what is never needed is never loaded)

        which = self.idempotency_key if self._placed is None else self._placed.id
        told = f"The hold {which} is not settled and ends by itself: {str(failure) or type(failure).__name__}"
        error.add_note(told)
        logging.getLogger("groat").warning(told)

    # Streams.

    def _is_within(self, tokens: int, limit: int | None, at_limit: AtLimit) -> bool:
        """Count the tokens of one chunk; says whether it may be passed on."""
        limit = self._terms.max_output_tokens if limit is None else limit
        total = self._measured().output_tokens + tokens
        if self.tracked and limit is not None and total > limit:
            self.exhausted = True
            if at_limit == "raise":
                raise HoldExhausted(limit)
            return False
        self.saw(output_tokens=total)
        return True


def _derived(key: str, suffix: str) -> str:
    """Return the key of something that belongs to what `key` is for: always the same one, and never too long."""
    longest = KEY_LENGTH_MAX - len(suffix) - 1
    stem = key if len(key) <= longest else hashlib.sha256(key.encode()).hexdigest()
    return f"{stem}:{suffix}"
