"""Reading JSON into exact values: the only place where an amount, an instant or a flag is recognised.

Amounts become `Decimal` straight from their text, so no binary float is ever in between. Members
that nobody asks for are ignored: a newer service may say more than this client knows.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import NoReturn, cast


class Unreadable(ValueError):
    """The body is not what the service would have said."""


class Amount(Decimal):
    """A `Decimal` that prints in plain notation: `0.0000005`, where a bare one prints `5E-7`."""

    __slots__ = ()

    def __str__(self) -> str:
        return super().__format__("f")

    def __format__(self, specifier: str, /, *_locale: object) -> str:
        return super().__format__(specifier or "f")


class Members:
    """The members of one JSON object, each read as the type that the caller expects.

    `optional_…` answers None where the member is absent or null. Raises `Unreadable`.
    """

    __slots__ = ("everything",)

    def __init__(self, everything: dict[str, object]) -> None:
        self.everything = everything

    @classmethod
    def of(cls, body: bytes) -> Members:
        """Read a body that has to be one JSON object."""
        try:
            value = json.loads(body, parse_float=Amount, parse_constant=_refuse)
        except (ValueError, ArithmeticError, RecursionError) as error:
            raise Unreadable(f"The body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise Unreadable("The body is not a JSON object.")
        return cls(value)

    def amount(self, name: str) -> Decimal:
        """Read an exact number."""
        value = self.everything.get(name)
        if isinstance(value, bool) or not isinstance(value, Decimal | int):
            raise self._unexpected(name, "an amount")
        return value if isinstance(value, Decimal) else Amount(value)

    def optional_amount(self, name: str) -> Decimal | None:
        """Read an exact number, if there is one."""
        return None if self.lacks(name) else self.amount(name)

    def optional_integer(self, name: str) -> int | None:
        """Read a whole number, if there is one."""
        value = self.everything.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise self._unexpected(name, "a whole number")
        return value

    def text(self, name: str) -> str:
        """Read a string."""
        value = self.everything.get(name)
        if not isinstance(value, str):
            raise self._unexpected(name, "a string")
        return value

    def optional_text(self, name: str) -> str | None:
        """Read a string, if there is one."""
        return None if self.lacks(name) else self.text(name)

    def flag(self, name: str, *, default: bool) -> bool:
        """Read a truth value; an absent one is the default."""
        value = self.everything.get(name, default)
        if not isinstance(value, bool):
            raise self._unexpected(name, "true or false")
        return value

    def optional_instant(self, name: str) -> datetime | None:
        """Read an instant, always with its zone; one without a zone is UTC."""
        if self.lacks(name):
            return None
        try:
            instant = datetime.fromisoformat(self.text(name))
        except ValueError as error:
            raise self._unexpected(name, "an instant") from error
        return instant if instant.tzinfo else instant.replace(tzinfo=UTC)

    def optional_object(self, name: str) -> Members | None:
        """Read an object within this one, if there is one."""
        value = self.everything.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._unexpected(name, "an object")
        return Members(value)

    def objects(self, name: str) -> list[Members]:
        """Read a list of objects."""
        values = self.everything.get(name)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise self._unexpected(name, "a list of objects")
        return [Members(cast("dict[str, object]", value)) for value in values]

    def lacks(self, name: str) -> bool:
        """Whether the member is absent or null."""
        return self.everything.get(name) is None

    def _unexpected(self, name: str, expected: str) -> Unreadable:
        """Name the member, never its value: a body may hold what no log should."""
        return Unreadable(f"The member {name!r} is not {expected}.")


def _refuse(constant: str) -> NoReturn:
    raise Unreadable(f"{constant} is not JSON.")
