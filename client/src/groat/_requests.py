"""What is asked of the service, as values: built once, then sent as often as it takes.

A request holds its finished body, so every attempt is the same to the last byte, its key included.
Only what was given is sent; what is absent has the service's default.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote

from ._answers import Balance, Estimate, Receipt, Refusal, read_results

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
    quantity: Decimal | int | str | None = None
    provider: str | None = None
    api_cost: Decimal | int | str | None = None
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


def _event(usage: Usage) -> dict[str, object]:
    extras = {
        "description": usage.description,
        "session_id": usage.session_id,
        "metadata": usage.metadata,
    }
    return {
        "user": usage.user,
        **_measures(usage),
        **_given(extras),
        "mode": "enforce" if usage.enforce else "record",
        "idempotency_key": usage.idempotency_key,
    }


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


def _exact(amount: Decimal | int | str | None) -> int | str | None:
    if isinstance(amount, float):
        raise TypeError("A float is not exact: give a Decimal, an int or a decimal string.")
    return format(amount, "f") if isinstance(amount, Decimal) else amount


def _instant(instant: datetime | None) -> str | None:
    if instant is None:
        return None
    if instant.utcoffset() is None:
        raise ValueError("occurred_at has no time zone, so it names no instant.")
    return instant.isoformat()


def _segment(user: int | str) -> str:
    """Name a user within a path; nothing but an id or an e-mail address gets through."""
    if isinstance(user, str) and "@" not in user:
        raise ValueError("A balance is asked for by the user's id or e-mail address.")
    return quote(str(user), safe="@")


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
