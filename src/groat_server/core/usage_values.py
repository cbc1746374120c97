"""One row of a usage log: the strict values of its fields, and the usage they make.

A value is taken as it is or refused with a reason; nothing is guessed. Where the fields come from is in `usage_file`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NoReturn

from groat_server.core.credits import DECIMALS, MAX_API_COST, MAX_TOKENS, plain, trimmed
from groat_server.core.text import is_safe, normal_email
from groat_server.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

USER_ID_MAX = 2**63 - 1
QUANTITY_MAX = Decimal(10) ** 9
METADATA_BYTES_MAX = 4096
YEARS = range(2000, 2101)

_EMAIL_LENGTH_MAX = 320
_NUMBER_LENGTH_MAX = 60
_DECIMAL = re.compile(r"[0-9]{1,16}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_DIGITS = re.compile(r"[0-9]{1,19}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
_ACTION_TYPE = re.compile(r"[a-z0-9_.:-]{1,64}")

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_REQUIRED = ("occurred_at", "action_type")
_NEVER_NULL = frozenset({*_REQUIRED, *_TOKENS, "email", "user"})


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

    def usage(self, user_id: int | None, *, key: str, shift: timedelta, backfill_before: datetime) -> Usage:
        """Return the usage of this user, at the row's time plus `shift`; `key` is for a row that has none."""
        values = self.values
        occurred_at = self.occurred_at + shift
        return Usage(
            user_id=user_id,
            idempotency_key=values.get("idempotency_key", key),
            action_type=values["action_type"],
            model=values.get("model"),
            provider=values.get("provider"),
            input_tokens=values.get("input_tokens", 0),
            output_tokens=values.get("output_tokens", 0),
            cache_read_tokens=values.get("cache_read_tokens", 0),
            cache_write_tokens=values.get("cache_write_tokens", 0),
            reasoning_tokens=values.get("reasoning_tokens", 0),
            quantity=values.get("quantity"),
            api_cost=values.get("api_cost"),
            occurred_at=occurred_at,
            description=values.get("description"),
            session_id=values.get("session_id"),
            metadata=values.get("metadata"),
            backfill=occurred_at < backfill_before,
        )


def read_fields(fields: Mapping[str, object], *, as_text: bool) -> UsageRow:
    """Return what a row's fields say; `as_text` where every value is text (CSV) and not JSON's own. Raises BadRow."""
    parsers = TEXT_FIELDS if as_text else JSON_FIELDS
    values: dict[str, Any] = {}
    for name, value in fields.items():
        parse = parsers.get(name)
        if parse is None:
            raise BadRow(f"there is no field {name!r}"[:200])
        if value is None and name not in _NEVER_NULL:
            continue
        try:
            values[name] = parse(value)
        except ValueError as error:
            raise BadRow(f"{name} {error}") from None
    return _row(values)


def strict_json(text: str) -> Any:
    """Return the value of a JSON text, fractions as Decimal.

    Raises ValueError for anything else: repeated keys, NaN, numbers or depths out of bounds.
    """
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_float=_fraction,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: {error.msg}, at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _row(values: dict[str, Any]) -> UsageRow:
    for name in _REQUIRED:
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


def _text(longest: int, value: object, *, shortest: int = 1, multiline: bool = False) -> str:
    if not isinstance(value, str):
        raise ValueError("is not a text")  # noqa: TRY004 - every refusal is a ValueError
    if not shortest <= len(value) <= longest:
        raise ValueError(f"has {len(value)} characters; it takes {shortest} to {longest}")
    if not is_safe(value, multiline=multiline):
        raise ValueError("contains control characters or lone surrogates")
    return value


def _action_type(value: object) -> str:
    if not isinstance(value, str) or not _ACTION_TYPE.fullmatch(value):
        raise ValueError("is not 1 to 64 of a-z, 0-9 and _.:-")
    return value


@lru_cache(maxsize=4096)
def _email_address(text: str) -> str:
    email = normal_email(_text(_EMAIL_LENGTH_MAX, text))
    if not _EMAIL.fullmatch(email) or len(email) > _EMAIL_LENGTH_MAX:
        raise ValueError("is not an e-mail address")
    return email


def _email(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not an e-mail address")  # noqa: TRY004 - every refusal is a ValueError
    return _email_address(value)


def _user_id(number: int) -> int:
    if not 0 < number <= USER_ID_MAX:
        raise ValueError("is not the id of a user")
    return number


def _user_as_text(value: object) -> int | str:
    return _user_id(int(value)) if isinstance(value, str) and _DIGITS.fullmatch(value) else _email(value)


def _user_as_json(value: object) -> int | str:
    return _user_id(value) if isinstance(value, int) and not isinstance(value, bool) else _email(value)


def _instant(value: object) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("is not a time with its zone, such as 2026-01-31T12:00:00Z")
    try:
        instant = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time that exists") from None
    if instant.year not in YEARS:
        raise ValueError(f"lies outside the years {YEARS.start} to {YEARS.stop - 1}")
    return instant


def _tokens_as_text(value: object) -> int:
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise ValueError(f"is not a whole number from 0 to {MAX_TOKENS}")
    return _tokens_as_json(int(value))


def _tokens_as_json(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS:
        raise ValueError(f"is not a whole number from 0 to {MAX_TOKENS}")
    return value


def _amount(most: Decimal, value: object) -> Decimal:
    match value:
        case str() if _DECIMAL.fullmatch(value):
            amount = Decimal(value)
        case Decimal():
            amount = value
        case int() if not isinstance(value, bool):
            amount = Decimal(value)
        case _:
            raise ValueError("is not a number")
    if not 0 <= amount <= most:
        raise ValueError(f"is outside 0 to {plain(most)}")
    amount = trimmed(amount)
    exponent = amount.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > DECIMALS:
        raise ValueError(f"has more than {DECIMALS} decimals")
    return amount


def _metadata_as_text(value: object) -> dict[str, object]:
    return _metadata(strict_json(_text(METADATA_BYTES_MAX, value, multiline=True)))


def _metadata(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 - every refusal is a ValueError
    if not _is_safe_json(value):
        raise ValueError("contains control characters or lone surrogates")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode())
    if size > METADATA_BYTES_MAX:
        raise ValueError(f"has {size} bytes; it takes at most {METADATA_BYTES_MAX}")
    return value


def _is_safe_json(value: object) -> bool:
    match value:
        case str():
            return is_safe(value, multiline=True)
        case dict():
            return all(is_safe(name) and _is_safe_json(member) for name, member in value.items())
        case list():
            return all(map(_is_safe_json, value))
        case _:
            return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("has a key twice in one object")
    return members


def _fraction(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("has a number that is out of bounds") from None
    if len(text) > _NUMBER_LENGTH_MAX or abs(number.adjusted()) > _NUMBER_LENGTH_MAX:
        raise ValueError("has a number that is out of bounds")
    return number


def _integer(text: str) -> int:
    if len(text) > _NUMBER_LENGTH_MAX:
        raise ValueError("has a number that is out of bounds")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"has {name}, which is not JSON")


_COMMON: dict[str, Callable[[object], object]] = {
    "occurred_at": _instant,
    "email": _email,
    "action_type": _action_type,
    "model": partial(_text, 200),
    "provider": partial(_text, 100),
    "quantity": partial(_amount, QUANTITY_MAX),
    "api_cost": partial(_amount, MAX_API_COST),
    "description": partial(_text, 500, shortest=0, multiline=True),
    "session_id": partial(_text, 255),
    "idempotency_key": partial(_text, 255),
}

TEXT_FIELDS = {
    **_COMMON,
    **dict.fromkeys(_TOKENS, _tokens_as_text),
    "user": _user_as_text,
    "metadata": _metadata_as_text,
}
JSON_FIELDS = {**_COMMON, **dict.fromkeys(_TOKENS, _tokens_as_json), "user": _user_as_json, "metadata": _metadata}
_WITHOUT_PARTS = TEXT_FIELDS.keys() - {"cache_read_tokens", "cache_write_tokens", "reasoning_tokens"}
FIELD_NAMES = tuple(TEXT_FIELDS)
"""The fields that a row may have."""
