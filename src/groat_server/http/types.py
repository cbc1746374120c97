"""What requests may contain, as types: the rules of `core.values`, and how the OpenAPI document describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, partial
from typing import Annotated, Any
from zoneinfo import available_timezones

from annotated_types import GroupedMetadata
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from groat_server.core import values
from groat_server.core.credits import MAX_API_COST, MAX_TOKENS
from groat_server.core.holds import SECONDS_MAX
from groat_server.operations.reports import DAYS_MAX, FACTOR_MAX, FILE_ROWS_MAX, LIMIT_MAX, SERIES_MAX
from groat_server.operations.users import ExternalId, UserName

_NAME_LENGTH_MAX = 255


class Body(BaseModel):
    """A request's body: no field but those listed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True, eq=False)
class _Rule(GroupedMetadata):
    """How a value is read, and how it is described."""

    read: Callable[[Any], object]
    schema: dict[str, Any]

    def __iter__(self) -> Iterator[object]:
        yield BeforeValidator(self.read)
        yield WithJsonSchema(self.schema)


def _text(longest: int, *, shortest: int = 1, multiline: bool = False) -> _Rule:
    schema = {"type": "string", "minLength": shortest, "maxLength": longest}
    return _Rule(partial(values.text, longest=longest, shortest=shortest, multiline=multiline), schema)


def amount(most: Decimal) -> _Rule:
    """Return the rule of an amount from 0 on."""
    number = {"type": "number", "minimum": 0, "maximum": int(most)}
    text = {"type": "string", "pattern": f"^{values.AMOUNT_PATTERN}$"}
    return _Rule(partial(values.amount, most=most), {"anyOf": [number, text]})


def _moved_amount(most: Decimal, *, signed: bool = False) -> _Rule:
    """Return the rule of an amount that is not 0."""
    least = -most if signed else Decimal(0)
    bound = {"minimum": int(least)} if signed else {"exclusiveMinimum": 0}
    number = {"type": "number", **bound, "maximum": int(most)}
    text = {"type": "string", "pattern": f"^{'-?' if signed else ''}{values.AMOUNT_PATTERN}$"}
    return _Rule(partial(values.moved_amount, most=most, least=least), {"anyOf": [number, text]})


def whole(least: int, greatest: int) -> _Rule:
    """Return the rule of a whole number in a query, a path or a form, which is text there."""
    schema = {"type": "integer", "minimum": least, "maximum": greatest}
    return _Rule(partial(_read_digits, least=least, greatest=greatest), schema)


def _read_digits(value: object, *, least: int, greatest: int) -> int:
    number = values.digits(value)
    if not least <= number <= greatest:
        raise ValueError(f"must be from {least} to {greatest}")
    return number


def _zone(name: object) -> str:
    if not isinstance(name, str) or name not in _zones():
        raise ValueError("must be an IANA time zone, such as Europe/Berlin")
    return name


@cache
def _zones() -> frozenset[str]:
    """Return the zones' names: not what else lies in their directory, which the database does not know."""
    return frozenset(available_timezones() - {"Factory", "localtime", "posixrules"})


def user_name(value: object) -> UserName:
    """Read what a request calls a user. Raises ValueError."""
    match value:
        case int():
            return values.user_id(value)
        case str():
            return values.email(value)
        case {"external_id": name, **others} if not others:
            return ExternalId(values.text(name, longest=_NAME_LENGTH_MAX))
    raise ValueError('must be an id, an e-mail address or {"external_id": "…"}')


_EMAIL_SCHEMA = {"type": "string", "format": "email", "maxLength": values.EMAIL_LENGTH_MAX}
_USER_SCHEMA = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": values.ID_MAX},
        _EMAIL_SCHEMA,
        {
            "type": "object",
            "properties": {"external_id": {"type": "string", "minLength": 1, "maxLength": _NAME_LENGTH_MAX}},
            "required": ["external_id"],
            "additionalProperties": False,
        },
    ]
}

Key = Annotated[str, _text(255)]
ActionType = Annotated[str, _Rule(values.action_type, {"type": "string", "pattern": f"^{values.ACTION_TYPE_PATTERN}$"})]
Model = Annotated[str, _text(200)]
Provider = Annotated[str, _text(100)]
Description = Annotated[str, _text(500, shortest=0, multiline=True)]
SessionId = Annotated[str, _text(255)]
FullName = Annotated[str, _text(200, shortest=0)]
TokenName = Annotated[str, _text(100)]
NewExternalId = Annotated[str, _text(_NAME_LENGTH_MAX)]
Email = Annotated[str, _Rule(values.email, _EMAIL_SCHEMA)]
TimeZone = Annotated[str, _Rule(_zone, {"type": "string", "maxLength": 64})]
Tokens = Annotated[int, Strict(), Field(ge=0, le=MAX_TOKENS)]
Flag = Annotated[bool, Strict()]
ApiCost = Annotated[Decimal, amount(MAX_API_COST)]
Quantity = Annotated[Decimal, amount(values.QUANTITY_MAX)]
Allowance = Annotated[Decimal, amount(values.ALLOWANCE_MAX)]
Credits = Annotated[Decimal, _moved_amount(values.CREDITS_MAX)]
HeldCredits = Annotated[Decimal, amount(values.CREDITS_MAX)]
SignedCredits = Annotated[Decimal, _moved_amount(values.CREDITS_MAX, signed=True)]
CostBasis = Annotated[Decimal, amount(values.COST_BASIS_MAX)]
Priority = Annotated[int, Strict(), Field(ge=0, le=values.PRIORITY_MAX)]
Reason = Annotated[str, _text(500, multiline=True)]
EventId = Annotated[int, Strict(), Field(ge=1, le=values.ID_MAX)]
HoldSeconds = Annotated[int, Strict(), Field(ge=1, le=SECONDS_MAX)]
Instant = Annotated[datetime, _Rule(values.instant, {"type": "string", "format": "date-time"})]
Metadata = Annotated[dict[str, Any], BeforeValidator(values.metadata)]
User = Annotated[UserName, _Rule(user_name, _USER_SCHEMA)]
DayCount = Annotated[int, whole(1, DAYS_MAX)]
Limit = Annotated[int, whole(1, LIMIT_MAX)]
RowCount = Annotated[int, whole(1, FILE_ROWS_MAX)]
SeriesCount = Annotated[int, whole(1, SERIES_MAX)]
Factor = Annotated[int, whole(1, FACTOR_MAX)]
Id = Annotated[int, whole(1, values.ID_MAX)]
Cursor = Annotated[str, _text(1000)]
Search = Annotated[str, _text(200)]
