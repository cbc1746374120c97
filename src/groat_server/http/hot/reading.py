"""Bodies that are surely right, read without pydantic.

None in place of a value says that a body is wrong or unusual, which the application then finds out for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from groat_server.core.holds import SECONDS_DEFAULT
from groat_server.core.usage import Usage
from groat_server.http import types
from groat_server.http.holds import CaptureRequest, HoldRequest
from groat_server.http.hot.shapes import Shape, quotes_in, rule_of
from groat_server.http.usage import UsageRequest
from groat_server.operations.holds import NewHold
from groat_server.operations.usage import BATCH_MAX
from groat_server.operations.users import UserName

if TYPE_CHECKING:
    from groat_server.core.holds import HoldName

_WRONG = (msgspec.MsgspecError, ValueError, RecursionError)
_BATCH_QUOTES = 2  # its own field's

_USAGE, _CAPTURE, _HOLD = Shape(UsageRequest), Shape(CaptureRequest), Shape(HoldRequest)


class _Batch(Struct, forbid_unknown_fields=True, gc=False):
    events: Annotated[list[_USAGE.kind], Meta(min_length=1, max_length=BATCH_MAX)]  # type: ignore[name-defined] # made above


_decode_usage = msgspec.json.Decoder(_USAGE.kind).decode
_decode_capture = msgspec.json.Decoder(_CAPTURE.kind).decode
_decode_hold = msgspec.json.Decoder(_HOLD.kind).decode
_decode_batch = msgspec.json.Decoder(_Batch).decode

read_key: Callable[[str], str] = rule_of(types.Key)
"""The rule of a key in a header. Raises ValueError."""


def read_usage(body: bytes, key: str | None) -> tuple[Usage, UserName] | None:
    """Return the use that a body reports, under its key or the header's, and whose it is."""
    try:
        said = _decode_usage(body)
        return _usage(said, key) if _USAGE.read(said) == quotes_in(body) else None
    except _WRONG:
        return None


def read_batch(body: bytes) -> tuple[list[Usage], list[UserName]] | None:
    """Return the uses that a body reports, each under a key of its own, and whose each is."""
    usages, users = [], []
    needed = _BATCH_QUOTES
    try:
        for said in _decode_batch(body).events:
            needed += _USAGE.read(said)
            usage, user = _usage(said, None)
            usages.append(usage)
            users.append(user)
    except _WRONG:
        return None
    return (usages, users) if needed == quotes_in(body) else None


def read_capture(body: bytes, key: str | None, hold: HoldName) -> Usage | None:
    """Return the use that a body reports of this hold, under its key or the header's."""
    try:
        said = _decode_capture(body)
        if _CAPTURE.read(said) != quotes_in(body):
            return None
        return _consistent(
            Usage(user_id=hold.user_id, idempotency_key=_one_key(said, key), hold_id=hold.hold_id, **said)
        )
    except _WRONG:
        return None


def read_hold(body: bytes, key: str | None) -> tuple[Callable[[int], NewHold], UserName] | None:
    """Return the hold that a body asks for, to be made of a user's id, and what it calls that user."""
    try:
        said = _decode_hold(body)
        if _HOLD.read(said) != quotes_in(body) or (said.get("amount") is None and said.get("action_type") is None):
            return None
        user = said.pop("user")
        seconds = said.pop("ttl_seconds", SECONDS_DEFAULT)
        return partial(_new_hold, idempotency_key=_one_key(said, key), seconds=seconds, **said), user
    except _WRONG:
        return None


def _new_hold(user_id: int, **said: Any) -> NewHold:
    return NewHold(user_id=user_id, **said)


def _usage(said: dict[str, Any], key: str | None) -> tuple[Usage, UserName]:
    user = said.pop("user")
    enforce = said.pop("mode", None) == "enforce"
    return _consistent(Usage(user_id=None, idempotency_key=_one_key(said, key), enforce=enforce, **said)), user


def _consistent(usage: Usage) -> Usage:
    """Return the usage. Raises ValueError where a part exceeds its whole."""
    if usage.cache_read_tokens + usage.cache_write_tokens > usage.input_tokens:
        raise ValueError("cache_read_tokens and cache_write_tokens are parts of input_tokens")
    if usage.reasoning_tokens > usage.output_tokens:
        raise ValueError("reasoning_tokens is a part of output_tokens")
    return usage


def _one_key(said: dict[str, Any], header: str | None) -> str:
    """Return the key of the body, or the header's. Raises ValueError where there is none, or two."""
    key: str | None = said.pop("idempotency_key", None)
    if key is None:
        key = header
    elif header is not None and header != key:
        raise ValueError("two keys")
    if key is None:
        raise ValueError("no key")
    return key
