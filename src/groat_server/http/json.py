"""JSON in and out, exactly.

Out: amounts are numbers whose text is the exact decimal in plain notation, times are UTC with `Z`. In: numbers with a
fraction become `Decimal`, never a float; NaN, Infinity, repeated keys and bytes that are not UTF-8 are refused.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.credits import Amount

_DIGITS_MAX = 60


def _encode_other(value: object) -> object:
    if isinstance(value, Amount):
        return msgspec.Raw(str(value).encode())
    raise TypeError(f"{type(value).__name__} has no JSON form here")


_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=_encode_other)


class JSON(Response):
    """A JSON answer from dataclasses, dictionaries, lists and amounts."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the body's bytes."""
        return _encoder.encode(content)


def decode(body: bytes) -> Any:
    """Return what `body` says. Raises json.JSONDecodeError for anything that is not strict JSON in UTF-8."""
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError:
        raise
    except UnicodeDecodeError as error:
        raise _malformed("the body is not UTF-8") from error
    except RecursionError as error:
        raise _malformed("the body is nested too deeply") from error


class StrictRequest(Request):
    """A request whose JSON body is read strictly."""

    async def json(self) -> Any:
        """Return the body's value. Raises json.JSONDecodeError."""
        return decode(await self.body())


def _malformed(reason: str) -> json.JSONDecodeError:
    return json.JSONDecodeError(reason, "", 0)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("a key stands twice in one object")
    return members


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise _malformed("a number is out of bounds") from error
    if len(text) > _DIGITS_MAX or abs(number.adjusted()) > _DIGITS_MAX:
        raise _malformed("a number is out of bounds")
    return number


def _integer(text: str) -> int:
    if len(text) > _DIGITS_MAX:
        raise _malformed("a number is out of bounds")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise _malformed(f"{name} is not JSON")
