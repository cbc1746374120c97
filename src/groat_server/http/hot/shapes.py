"""What bodies are decoded as without pydantic, made from the very models that the application's routes take.

msgspec decodes a text, a flag or a count by itself; an amount or metadata it leaves as JSON, for `core.values` to read
as it reads whole bodies: a fraction becomes a Decimal, exactly. Then each value keeps the rule of its type.

Of a field that is unknown and of one that stands twice msgspec says nothing here. Both are found by counting: a body
has as many quotation marks as the fields and texts that were read of it, and any other field has two more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypedDict, Union, cast, get_args, get_origin, get_type_hints

from annotated_types import GroupedMetadata
from msgspec import Meta, Raw, Struct
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from groat_server.core.values import ID_MAX, strict_json
from groat_server.http import types
from groat_server.operations.users import UserName

_KNOWN_MAX = 4096
_OFTEN_THE_SAME = {"action_type", "model", "provider"}
_QUOTES = 2  # of one text

Rule = Callable[[Any], Any]


class _Named(Struct, forbid_unknown_fields=True, gc=False):
    """A user by the application's own id."""

    external_id: str


class Shape:
    """What a body is decoded as (`kind`, a TypedDict), and how its fields are read after that."""

    def __init__(self, model: type[BaseModel]) -> None:
        hints = get_type_hints(model, include_extras=True)
        decoded = {name: _decoded(hints[name]) for name in model.model_fields}
        self.kind = TypedDict(model.__name__, {name: kind for name, (kind, _) in decoded.items()}, total=False)  # type: ignore[misc] # made of the model, which is checked
        self._rules = {
            name: lru_cache(_KNOWN_MAX)(rule) if name in _OFTEN_THE_SAME and rule is not None else rule
            for name, (_, rule) in decoded.items()
        }
        self._required = [name for name, field in model.model_fields.items() if field.is_required()]

    def read(self, said: dict[str, Any]) -> int:
        """Turn what was decoded into what it means; returns how many quotation marks it needs. Raises ValueError."""
        rules = self._rules
        quotes = _QUOTES * len(said)
        for name, value in said.items():
            kind = type(value)
            if kind is str:
                quotes += _QUOTES
            elif kind is Raw:
                value = bytes(value)  # noqa: PLW2901 - the same value
                quotes += quotes_in(value)
            elif kind is _Named:
                quotes += 2 * _QUOTES
            rule = rules[name]
            if rule is not None and value is not None:
                said[name] = rule(value)
        for name in self._required:
            if name not in said:
                raise ValueError("is missing")
        return quotes


def quotes_in(text: bytes) -> int:
    """Count the quotation marks that begin and end texts in a JSON text."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    return text.count(b'"')


def rule_of(hint: Any) -> Rule:
    """Return the rule of a type of `http.types`."""
    (mark,) = (mark for mark in _marks(get_args(hint)[1:]) if isinstance(mark, BeforeValidator))
    return cast("Rule", mark.func)


def _decoded(hint: Any) -> tuple[Any, Rule | None]:
    """Return what a field of this type is decoded as, and the rule that it keeps after that."""
    if get_origin(hint) is UnionType or get_origin(hint) is Union:
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        kind, rule = _decoded(hint)
        return (kind, _or_null(rule)) if kind is Raw else (kind | None, rule)
    if get_origin(hint) is Literal:
        return hint, None
    return _annotated(hint, *get_args(hint))


def _annotated(hint: Any, base: Any, *extras: Any) -> tuple[Any, Rule | None]:
    if base == UserName:
        return int | str | _Named, _user
    if base is bool:
        return bool, None
    if base is int:
        bounds = {name: getattr(mark, name) for mark in _marks(extras) for name in ("ge", "le") if hasattr(mark, name)}
        return Annotated[int, Meta(**bounds)], None
    if base is Decimal:
        return Raw, lru_cache(_KNOWN_MAX)(_of_json(rule_of(hint)))
    if get_origin(base) is dict:
        return Raw, _of_json(rule_of(hint))
    return str, rule_of(hint)


def _marks(extras: Iterable[Any]) -> list[Any]:
    """Return what is annotated to a type, one by one."""
    marks: list[Any] = []
    for extra in extras:
        if isinstance(extra, GroupedMetadata):
            marks += extra
        else:
            marks += extra.metadata if isinstance(extra, FieldInfo) else [extra]
    return marks


def _of_json(rule: Rule) -> Rule:
    def read(text: bytes) -> Any:
        return rule(strict_json(text.decode()))

    return read


def _or_null(rule: Rule | None) -> Rule:
    def read(text: bytes) -> Any:
        return None if text == b"null" or rule is None else rule(text)

    return read


def _user(name: int | str | _Named) -> UserName:
    if type(name) is int and 0 < name <= ID_MAX:  # as most are, so that these need no rule of many kinds
        return name
    return types.user_name({"external_id": name.external_id} if isinstance(name, _Named) else name)
