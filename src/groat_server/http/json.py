"""JSON in and out, exactly.

Out: amounts are numbers whose text is the exact decimal in plain notation, times are UTC with `Z`. In: numbers with a
fraction become `Decimal`, never a float; NaN, Infinity, repeated keys and bytes that are not UTF-8 are refused.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from groat_server.core.credits import Amount
from groat_server.core.values import strict_json


def _encode_other(value: object) -> object:
    if isinstance(value, Amount):
        return msgspec.Raw(str(value).encode())
    raise TypeError(f"{type(value).__name__} has no JSON form here")


encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_encode_other).encode
"""Return the JSON of dataclasses, dictionaries, lists and amounts."""


class JSON(Response):
    """A JSON answer from dataclasses, dictionaries, lists and amounts."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Return the body's bytes."""
        return encode(content)


def decode(body: bytes) -> Any:
    """Return what `body` says. Raises json.JSONDecodeError for anything that is not strict JSON in UTF-8."""
    try:
        return strict_json(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("it must be UTF-8", "", 0) from error
    except ValueError as error:
        raise json.JSONDecodeError(f"it {error}", "", 0) from error


class StrictRequest(Request):
    """A request whose JSON body is read strictly."""

    async def json(self) -> Any:
        """Return the body's value. Raises json.JSONDecodeError."""
        return decode(await self.body())
