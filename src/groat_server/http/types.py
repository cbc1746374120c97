"""What requests may contain: every text safe and bounded, every number strict and bounded.

A value is taken as it is or refused; nothing is coerced but an amount, which may be a number or a decimal string.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from groat_server.core.credits import DECIMALS, MAX_API_COST, MAX_TOKENS, trimmed
from groat_server.core.text import is_safe, normal_email
from groat_server.http.json import JSON
from groat_server.operations.users import ExternalId, UserName

ID_MAX = 2**63 - 1
METADATA_BYTES_MAX = 4096
METADATA_DEPTH_MAX = 32
QUANTITY_MAX = Decimal(10) ** 9
ALLOWANCE_MAX = Decimal(10) ** 12
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_DIGITS = re.compile(r"[0-9]{1,19}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


class Body(BaseModel):
    """A request's body: no field but those listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _safe(text: str) -> str:
    if not is_safe(text):
        raise ValueError("must not contain control characters or lone surrogates")
    return text


def _safe_lines(text: str) -> str:
    if not is_safe(text, multiline=True):
        raise ValueError("must not contain control characters other than tab and newline, or lone surrogates")
    return text


def _amount(value: object) -> Decimal:
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        return trimmed(Decimal(value))
    if isinstance(value, Decimal) or (isinstance(value, int) and not isinstance(value, bool)):
        amount = trimmed(Decimal(value))
        if -amount.as_tuple().exponent > DECIMALS:  # type: ignore[operator] # finite, so it is a number
            raise ValueError(f"must have at most {DECIMALS} decimals")
        return amount
    raise ValueError("must be a number or a decimal string")


def _time(value: object) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("must be an RFC 3339 time with its zone, such as 2026-01-31T12:00:00Z")
    try:
        instant = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("is no time that exists") from error
    if not 2000 <= instant.year <= 2100:  # noqa: PLR2004 - lengths and years
        raise ValueError("must lie between the years 2000 and 2100")
    return instant


def _metadata(value: object) -> object:
    if value is None or not isinstance(value, dict):
        raise ValueError("must be an object")
    if not _is_safe_json(value, METADATA_DEPTH_MAX):
        raise ValueError(
            f"must not contain control characters or lone surrogates, nor be nested over {METADATA_DEPTH_MAX} deep"
        )
    if len(JSON(value).body) > METADATA_BYTES_MAX:
        raise ValueError(f"must have at most {METADATA_BYTES_MAX} bytes")
    return value


def _is_safe_json(value: object, depth_max: int) -> bool:
    match value:
        case str():
            return is_safe(value, multiline=True)
        case dict() | list() if depth_max == 0:
            return False
        case dict():
            return all(is_safe(key) and _is_safe_json(item, depth_max - 1) for key, item in value.items())
        case list():
            return all(_is_safe_json(item, depth_max - 1) for item in value)
        case _:
            return True


def _email(text: str) -> str:
    email = normal_email(text)
    if not _EMAIL.fullmatch(email):
        raise ValueError("must be an e-mail address")
    return email


def _zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("must be an IANA time zone, such as Europe/Berlin")
    return name


@cache
def _zones() -> frozenset[str]:
    """Return the zones' names: not what else lies in their directory, which the database does not know."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def _digits(value: object) -> int:
    """Read an integer of a query, which is text."""
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value)


def user_name(value: object) -> UserName:
    """Read what a request calls a user. Raises ValueError."""
    match value:
        case bool():
            pass
        case int() if 0 < value <= ID_MAX:
            return value
        case str() if len(value) <= 320 and is_safe(value):  # noqa: PLR2004 - lengths and years
            return _email(value)
        case {"external_id": str(name), **others} if not others and 1 <= len(name) <= 255 and is_safe(name):  # noqa: PLR2004 - lengths and years
            return ExternalId(name)
    raise ValueError('must be an id, an e-mail address or {"external_id": "…"}')


def _amount_schema(greatest: Decimal) -> WithJsonSchema:
    number = {"type": "number", "minimum": 0, "maximum": int(greatest)}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": f"^{_DECIMAL.pattern}$"}]})


def _digits_schema(least: int, greatest: int) -> WithJsonSchema:
    """Describe what `_digits` reads; of its own accord pydantic would describe the bounds in words of its own."""
    return WithJsonSchema({"type": "integer", "minimum": least, "maximum": greatest})


_USER_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": ID_MAX},
        {"type": "string", "format": "email", "maxLength": 320},
        {
            "type": "object",
            "properties": {"external_id": {"type": "string", "minLength": 1, "maxLength": 255}},
            "required": ["external_id"],
            "additionalProperties": False,
        },
    ]
}

_Text = Annotated[str, Strict(), AfterValidator(_safe)]
Key = Annotated[_Text, Field(min_length=1, max_length=255)]
ActionType = Annotated[str, Strict(), Field(pattern=r"^[a-z0-9_.:-]{1,64}$")]
Model = Annotated[_Text, Field(min_length=1, max_length=200)]
Provider = Annotated[_Text, Field(min_length=1, max_length=100)]
Description = Annotated[str, Strict(), Field(max_length=500), AfterValidator(_safe_lines)]
SessionId = Annotated[_Text, Field(min_length=1, max_length=255)]
FullName = Annotated[_Text, Field(max_length=200)]
TokenName = Annotated[_Text, Field(min_length=1, max_length=100)]
NewExternalId = Annotated[_Text, Field(min_length=1, max_length=255)]
Email = Annotated[str, Strict(), Field(max_length=320), AfterValidator(_safe), AfterValidator(_email)]
TimeZone = Annotated[str, Strict(), Field(max_length=64), AfterValidator(_zone)]
Tokens = Annotated[int, Strict(), Field(ge=0, le=MAX_TOKENS)]
Flag = Annotated[bool, Strict()]
ApiCost = Annotated[Decimal, BeforeValidator(_amount), Field(ge=0, le=MAX_API_COST), _amount_schema(MAX_API_COST)]
Quantity = Annotated[Decimal, BeforeValidator(_amount), Field(ge=0, le=QUANTITY_MAX), _amount_schema(QUANTITY_MAX)]
Allowance = Annotated[Decimal, BeforeValidator(_amount), Field(ge=0, le=ALLOWANCE_MAX), _amount_schema(ALLOWANCE_MAX)]
Instant = Annotated[datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})]
Metadata = Annotated[dict[str, Any], BeforeValidator(_metadata)]
User = Annotated[UserName, BeforeValidator(user_name), WithJsonSchema(_USER_SCHEMA)]
DayCount = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=366), _digits_schema(1, 366)]
Limit = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=500), _digits_schema(1, 500)]
Id = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=ID_MAX), _digits_schema(1, ID_MAX)]
Cursor = Annotated[_Text, Field(min_length=1, max_length=1000)]
Search = Annotated[_Text, Field(min_length=1, max_length=200)]
