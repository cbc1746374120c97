"""The strict values of requests and rows: what is taken, within which bounds, and in which form it is kept.

Each function returns the value or raises ValueError with a reason that reads after the field's name ("must be …"). A
value is taken as it is or refused; nothing is guessed. HTTP bodies and imported rows go by the same rules.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NoReturn

from groat_server.core.credits import DECIMALS, MAX_TOKENS, ZERO, Amount, plain, trimmed
from groat_server.core.text import is_safe, normal_email

ID_MAX = 2**63 - 1
QUANTITY_MAX = Decimal(10) ** 9
ALLOWANCE_MAX = Decimal(10) ** 12
CREDITS_MAX = Decimal(10) ** 12
COST_BASIS_MAX = Decimal(10) ** 6
PRIORITY_MAX = 100
METADATA_BYTES_MAX = 4096
METADATA_DEPTH_MAX = 32
EMAIL_LENGTH_MAX = 320
YEARS = range(2000, 2101)
AMOUNT_PATTERN = r"[0-9]{1,16}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?"
ACTION_TYPE_PATTERN = r"[a-z0-9_.:-]{1,64}"
TIME_PATTERN = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
DIGITS_MAX = 19

_NUMBER_LENGTH_MAX = 60
_AMOUNT = re.compile(AMOUNT_PATTERN)
_SIGNED_AMOUNT = re.compile(f"-?{AMOUNT_PATTERN}")
_SHORT_AMOUNT = re.compile(rf"[0-9]{{1,16}}(\.[0-9]{{1,{DECIMALS}}})?")
_ACTION_TYPE = re.compile(ACTION_TYPE_PATTERN)
_DIGITS = re.compile(rf"[0-9]{{1,{DIGITS_MAX}}}")
_TIME = re.compile(TIME_PATTERN, re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def strict_json(text: str) -> Any:
    """Return the value of a JSON text, fractions as Decimal.

    Refuses repeated keys, NaN and Infinity, and numbers or depths out of bounds.
    """
    if text.startswith("\ufeff"):
        raise ValueError("must be JSON: Unexpected UTF-8 BOM (decode using utf-8-sig), at character 1")
    try:
        return _JSON.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON: {error.msg}, at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("must not be nested so deeply") from None


def text(value: object, *, longest: int, shortest: int = 1, multiline: bool = False) -> str:
    """Return a text without control characters (but for tab and newline, with `multiline`) and lone surrogates."""
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - every refusal is a ValueError
    if not shortest <= len(value) <= longest:
        raise ValueError(f"must have {shortest} to {longest} characters")
    if not is_safe(value, multiline=multiline):
        raise ValueError("must not contain control characters or lone surrogates")
    return value


def action_type(value: object) -> str:
    """Return an action type."""
    if not isinstance(value, str) or not _ACTION_TYPE.fullmatch(value):
        raise ValueError("must be 1 to 64 of a-z, 0-9 and _.:-")
    return value


def email(value: object) -> str:
    """Return an e-mail address in its normal form."""
    if not isinstance(value, str):
        raise ValueError("must be an e-mail address")  # noqa: TRY004 - every refusal is a ValueError
    return _email(value)


def user_id(value: object) -> int:
    """Return the id of a user, from an integer or its digits."""
    number = digits(value) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number <= ID_MAX:
        raise ValueError("must be the id of a user")
    return number


def digits(value: object) -> int:
    """Return the whole number that a text of digits says."""
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        raise ValueError("must be a whole number")
    return int(value)


def tokens(value: object) -> int:
    """Return a count of tokens."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS:
        raise ValueError(f"must be a whole number from 0 to {MAX_TOKENS}")
    return value


def amount(value: object, *, most: Decimal, least: Decimal = ZERO) -> Decimal:
    """Return an amount from `least` to `most`, from a number or a decimal text, trimmed."""
    if isinstance(value, str) and _SHORT_AMOUNT.fullmatch(value):  # nearly all are: their text is trimmed, not they
        number = Amount(value.rstrip("0").rstrip(".") if "." in value else value)
        return _within(number, least, most)
    number = trimmed(_within(_number(value, _SIGNED_AMOUNT if least < 0 else _AMOUNT), least, most))
    exponent = number.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > DECIMALS:
        raise ValueError(f"must have at most {DECIMALS} decimals")
    return number


def _number(value: object, pattern: re.Pattern[str]) -> Decimal:
    match value:
        case str() if pattern.fullmatch(value):
            return Decimal(value)
        case Decimal():
            return value
        case int() if not isinstance(value, bool):
            return Decimal(value)
    raise ValueError("must be a number or a decimal string")


def _within(number: Decimal, least: Decimal, most: Decimal) -> Decimal:
    if not least <= number <= most:
        raise ValueError(f"must be from {plain(least)} to {plain(most)}")
    return number


def moved_amount(value: object, *, most: Decimal, least: Decimal = ZERO) -> Decimal:
    """Return an amount as `amount` does, but for 0: what moves no credits is no act."""
    number = amount(value, most=most, least=least)
    if not number:
        raise ValueError("must not be 0")
    return number


def instant(value: object) -> datetime:
    """Return a time, in UTC, from a text that names its zone."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError("must be a time with its zone, such as 2026-01-31T12:00:00Z")
    try:
        time = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be a time that exists") from None
    if time.year not in YEARS:
        raise ValueError(f"must lie in the years {YEARS.start} to {YEARS.stop - 1}")
    return time


def metadata(value: object) -> dict[str, object]:
    """Return an object of safe texts and numbers, of at most METADATA_BYTES_MAX bytes."""
    if not isinstance(value, dict):
        raise ValueError("must be an object")  # noqa: TRY004 - every refusal is a ValueError
    if not _is_safe_json(value, METADATA_DEPTH_MAX):
        raise ValueError(
            f"must not contain control characters or lone surrogates, nor be nested over {METADATA_DEPTH_MAX} deep"
        )
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode())
    if size > METADATA_BYTES_MAX:
        raise ValueError(f"must have at most {METADATA_BYTES_MAX} bytes")
    return value


@lru_cache(maxsize=2**14)
def _email(value: str) -> str:
    address = normal_email(text(value, longest=EMAIL_LENGTH_MAX))
    if not _EMAIL.fullmatch(address) or len(address) > EMAIL_LENGTH_MAX:
        raise ValueError("must be an e-mail address")
    return address


def _is_safe_json(value: object, depth_max: int) -> bool:
    match value:
        case str():
            return is_safe(value, multiline=True)
        case dict() | list() if depth_max == 0:
            return False
        case dict():
            return all(is_safe(name) and _is_safe_json(member, depth_max - 1) for name, member in value.items())
        case list():
            return all(_is_safe_json(member, depth_max - 1) for member in value)
        case _:
            return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("must not have a key twice in one object")
    return members


def _fraction(number: str) -> Decimal:
    try:
        fraction = Decimal(number)
    except InvalidOperation:
        raise ValueError("must not have a number that is out of bounds") from None
    if len(number) > _NUMBER_LENGTH_MAX or abs(fraction.adjusted()) > _NUMBER_LENGTH_MAX:
        raise ValueError("must not have a number that is out of bounds")
    return fraction


def _integer(number: str) -> int:
    if len(number) > _NUMBER_LENGTH_MAX:
        raise ValueError("must not have a number that is out of bounds")
    return int(number)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"must not have {name}, which is not JSON")


# Made once: making one takes longer than reading a short text with it.
_JSON = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_float=_fraction,
    parse_int=_integer,
    parse_constant=_refuse_constant,
)
