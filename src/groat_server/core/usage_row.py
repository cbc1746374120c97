"""One row of a usage log: the strict values of its fields, or why it has none.

The rules of the values are those of every surface (`values`). Where the fields come from is in `usage_file`; many rows
at a time are read in `usage_columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from groat_server.core.credits import MAX_API_COST
from groat_server.core.values import (
    METADATA_BYTES_MAX,
    QUANTITY_MAX,
    action_type,
    amount,
    digits,
    email,
    instant,
    metadata,
    strict_json,
    text,
    tokens,
    user_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
REQUIRED = ("occurred_at", "action_type")
NEVER_NULL = frozenset({*REQUIRED, *TOKENS, "email", "user"})


class BadRow(ValueError):
    """A row that cannot be charged as it stands; the text says why."""


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One well-formed row: the user as the log calls them (an id, or a normal e-mail address), and what else it says.

    `values` are those of the fields of `Usage` that the row has.
    """

    user: int | str
    occurred_at: datetime
    values: dict[str, Any]


def read_fields(fields: Mapping[str, object], *, as_text: bool) -> UsageRow:
    """Return what a row's fields say; `as_text` where every value is text (CSV) and not JSON's own. Raises BadRow."""
    parsers = TEXT_FIELDS if as_text else JSON_FIELDS
    values: dict[str, Any] = {}
    for name, value in fields.items():
        parse = parsers.get(name)
        if parse is None:
            raise BadRow(f"there is no field {name!r}"[:200])
        if value is None and name not in NEVER_NULL:
            continue
        try:
            values[name] = parse(value)
        except ValueError as error:
            raise BadRow(f"{name} {error}") from None
    return _row(values)


def _row(values: dict[str, Any]) -> UsageRow:
    for name in REQUIRED:
        if name not in values:
            raise BadRow(f"{name} is missing")
    if ("email" in values) == ("user" in values):
        raise BadRow("it takes one of email and user")
    if not values.keys() <= _WITHOUT_PARTS:
        if values.get("cache_read_tokens", 0) + values.get("cache_write_tokens", 0) > values.get("input_tokens", 0):
            raise BadRow("the cached tokens exceed input_tokens, of which they are parts")
        if values.get("reasoning_tokens", 0) > values.get("output_tokens", 0):
            raise BadRow("reasoning_tokens exceed output_tokens, of which they are a part")
    return UsageRow(values.get("email") or values["user"], values["occurred_at"], values)


def _user_as_text(value: object) -> int | str:
    return user_id(value) if isinstance(value, str) and value.isdigit() else email(value)


def _user_as_json(value: object) -> int | str:
    return email(value) if isinstance(value, str) else user_id(value)


def _tokens_as_text(value: object) -> int:
    return tokens(digits(value))


def _metadata_as_text(value: object) -> dict[str, object]:
    return metadata(strict_json(text(value, longest=METADATA_BYTES_MAX, multiline=True)))


_COMMON: dict[str, Callable[[object], object]] = {
    "occurred_at": instant,
    "email": email,
    "action_type": action_type,
    "model": partial(text, longest=200),
    "provider": partial(text, longest=100),
    "quantity": partial(amount, most=QUANTITY_MAX),
    "api_cost": partial(amount, most=MAX_API_COST),
    "description": partial(text, longest=500, shortest=0, multiline=True),
    "session_id": partial(text, longest=255),
    "idempotency_key": partial(text, longest=255),
}

TEXT_FIELDS = {
    **_COMMON,
    **dict.fromkeys(TOKENS, _tokens_as_text),
    "user": _user_as_text,
    "metadata": _metadata_as_text,
}
JSON_FIELDS = {**_COMMON, **dict.fromkeys(TOKENS, tokens), "user": _user_as_json, "metadata": metadata}
_WITHOUT_PARTS = TEXT_FIELDS.keys() - {"cache_read_tokens", "cache_write_tokens", "reasoning_tokens"}
FIELD_NAMES = tuple(TEXT_FIELDS)
"""The fields that a row may have."""
