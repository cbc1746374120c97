"""What is asked of the service, as values: built once, then sent as often as it takes.

A request holds its finished body, so every attempt is the same to the last byte, its key included.
Only what was given is sent; what is absent has the service's default.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

from ._answers import Balance, Booking, Estimate, PlacedHold, Receipt, Refusal, read_results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from ._members import Members

T = TypeVar("T")

BATCH_MAX = 1000
TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


class ExternalId(TypedDict):
    """A user by the application's own id: `ExternalId(external_id="…")`, or the same as a dict."""

    external_id: str


User: TypeAlias = int | str | ExternalId
"""A user's id, e-mail address, or id in the application."""

Amount: TypeAlias = Decimal | int | str
"""An exact number."""

GrantKind: TypeAlias = Literal["purchase", "promotion"]


def new_key() -> str:
    """Make an idempotency key that nobody else has."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What decides the price of a use."""

    action: str
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    quantity: Amount | None = None
    provider: str | None = None
    api_cost: Amount | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Measures):
    """One use of AI by one user: an item of a batch, with the fields of `Groat.charge`.

    It gets its idempotency key when it is made, so the same object may be sent again safely.
    """

    user: User = field(kw_only=False)
    description: str | None = None
    session_id: str | None = None
    metadata: Mapping[str, object] | None = None
    enforce: bool = False
    idempotency_key: str = field(default_factory=new_key)


@dataclass(frozen=True, slots=True)
class Remarks:
    """What is said of a charge beside its measures."""

    description: str | None = None
    session_id: str | None = None
    metadata: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldTerms:
    """What is to be set aside, and for which use."""

    user: User
    measures: Measures
    max_output_tokens: int | None
    amount: Amount | None
    ttl: timedelta | int | None
    remarks: Remarks
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One call. `keys` are those of the charges in it; a call without any changes nothing.

    `read` makes the result of a successful answer; it raises `Unreadable`.
    """

    method: str
    path: str
    body: bytes | None
    keys: tuple[str, ...]
    read: Callable[[Members], T]


def charge(usage: Usage) -> Request[Receipt]:
    """Ask for one charge."""
    return Request(
        method="POST",
        path="/api/v1/usage",
        body=_encode(_event(usage)),
        keys=(usage.idempotency_key,),
        read=partial(Receipt.read, idempotency_key=usage.idempotency_key),
    )


def charge_many(usages: Sequence[Usage]) -> Request[list[Receipt | Refusal]]:
    """Ask for a batch of charges. Raises ValueError where there are too many."""
    if len(usages) > BATCH_MAX:
        raise ValueError(f"A batch takes at most {BATCH_MAX} charges; these are {len(usages)}.")
    keys = tuple(usage.idempotency_key for usage in usages)
    return Request(
        method="POST",
        path="/api/v1/usage/batch",
        body=_encode({"events": [_event(usage) for usage in usages]}),
        keys=keys,
        read=partial(read_results, keys=keys),
    )


def estimate(user: User | None, measures: Measures) -> Request[Estimate]:
    """Ask for a price."""
    body = _given({"user": user}) | _measures(measures)
    return Request("POST", "/api/v1/estimate", _encode(body), (), Estimate.read)


def balance(user: int | str | None) -> Request[Balance]:
    """Ask for a balance, of the API key's own user if none is named."""
    path = "/api/v1/me/credits" if user is None else f"/api/v1/admin/users/{_segment(user)}"
    return Request("GET", path, None, (), Balance.read)


def place_hold(terms: HoldTerms, key: str) -> Request[PlacedHold]:
    """Ask for credits to be set aside."""
    others = {
        "max_output_tokens": terms.max_output_tokens,
        "amount": _exact(terms.amount),
        "ttl_seconds": _seconds(terms.ttl),
        "description": terms.remarks.description,
    }
    body = {"user": terms.user, **_measures(terms.measures), **_given(others), "idempotency_key": key}
    return Request("POST", "/api/v1/holds", _encode(body), (key,), PlacedHold.read)


def renew_hold(hold: str, ttl: timedelta | int | None) -> Request[PlacedHold]:
    """Ask for a hold to last longer."""
    body = _given({"ttl_seconds": _seconds(ttl)})
    return Request("POST", f"{_hold_path(hold)}/renew", _encode(body), (), PlacedHold.read)


def release_hold(hold: str) -> Request[None]:
    """Ask for a hold to end."""
    return Request("POST", f"{_hold_path(hold)}/release", _encode({}), (), _ignore)


def capture_hold(hold: str, measures: Measures, remarks: Remarks, key: str) -> Request[Receipt]:
    """Ask for the charge that ends a hold."""
    body = {**_measures(measures), **_remarks(remarks), "idempotency_key": key}
    return Request(
        method="POST",
        path=f"{_hold_path(hold)}/capture",
        body=_encode(body),
        keys=(key,),
        read=partial(Receipt.read, idempotency_key=key),
    )


def grant(
    user: User,
    key: str,
    *,
    kind: GrantKind,
    amount: Amount,
    priority: int | None,
    cost_basis: Amount | None,
    starts_at: datetime | None,
    expires_at: datetime | None,
    reason: str | None,
) -> Request[Booking]:
    """Ask for credits to be given."""
    others = {
        "priority": priority,
        "cost_basis": _exact(cost_basis),
        "starts_at": _instant(starts_at),
        "expires_at": _instant(expires_at),
        "reason": reason,
    }
    return _booking("grants", user, key, {"kind": kind, "amount": _exact(amount), **others})


def adjust(user: User, key: str, *, amount: Amount, expires_at: datetime | None, reason: str) -> Request[Booking]:
    """Ask for a balance to be corrected."""
    body = {"amount": _exact(amount), "expires_at": _instant(expires_at), "reason": reason}
    return _booking("adjustments", user, key, body)


def refund(user: User, key: str, *, event_id: int, amount: Amount | None, reason: str) -> Request[Booking]:
    """Ask for credits of a charge to be given back."""
    return _booking("refunds", user, key, {"event_id": event_id, "amount": _exact(amount), "reason": reason})


def void(user: User, key: str, *, event_id: int, reason: str) -> Request[Booking]:
    """Ask for a charge to be taken out of the books."""
    return _booking("voids", user, key, {"event_id": event_id, "reason": reason})


def _booking(name: str, user: User, key: str, members: Mapping[str, object]) -> Request[Booking]:
    return Request(
        method="POST",
        path=f"/api/v1/admin/{name}",
        body=_encode({"user": user, **_given(members), "idempotency_key": key}),
        keys=(key,),
        read=partial(Booking.read, idempotency_key=key),
    )


def _event(usage: Usage) -> dict[str, object]:
    return {
        "user": usage.user,
        **_measures(usage),
        **_remarks(usage),
        "mode": "enforce" if usage.enforce else "record",
        "idempotency_key": usage.idempotency_key,
    }


def _remarks(remarks: Remarks | Usage) -> dict[str, object]:
    return _given({"description": remarks.description, "session_id": remarks.session_id, "metadata": remarks.metadata})


def _measures(measures: Measures) -> dict[str, object]:
    counts = {name: getattr(measures, name) for name in TOKENS}
    others = {
        "model": measures.model,
        "provider": measures.provider,
        "quantity": _exact(measures.quantity),
        "api_cost": _exact(measures.api_cost),
        "occurred_at": _instant(measures.occurred_at),
    }
    # A count of None is sent as it is, and refused: it is a fault, not a use that costs nothing.
    present = {name: count for name, count in counts.items() if count != 0}
    return {"action_type": measures.action, **present, **_given(others)}


def _given(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _exact(amount: Amount | None) -> int | str | None:
    if isinstance(amount, float):
        raise TypeError("A float is not exact: give a Decimal, an int or a decimal string.")
    return format(amount, "f") if isinstance(amount, Decimal) else amount


def _instant(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    if instant.utcoffset() is None:
        raise ValueError(f"{instant} has no time zone, so it names no instant.")
    return instant.isoformat()


def _seconds(ttl: timedelta | int | None) -> int | None:
    return math.ceil(ttl.total_seconds()) if isinstance(ttl, timedelta) else ttl


def _hold_path(hold: str) -> str:
    return f"/api/v1/holds/{quote(hold, safe='')}"


def _ignore(_members: Members) -> None:
    """There is nothing to learn from the answer."""


def _segment(user: int | str) -> str:
    """Name a user within a path; nothing but an id or an e-mail address gets through."""
    if isinstance(user, str) and "@" not in user:
        raise ValueError("A balance is asked for by the user's id or e-mail address.")
    return quote(str(user), safe="@")


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
