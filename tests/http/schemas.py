"""A validator for the part of JSON Schema that the OpenAPI document uses; a keyword it does not know is an error."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

PROBLEM_MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
_SAYS_NOTHING = {"title", "description", "default", "examples"}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, Decimal),
    "boolean": bool,
    "null": type(None),
}


class OpenApi:
    """The service's own description of itself."""

    def __init__(self, document: Schema) -> None:
        self.document = document

    def operations(self) -> Iterator[tuple[str, str, Schema]]:
        """Yield each operation as method, path and description."""
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                yield method.upper(), path, operation

    def operation(self, method: str, path: str) -> tuple[str, Schema] | None:
        """Find the operation that a request is for."""
        found = [
            (template, operation)
            for known, template, operation in self.operations()
            if known == method and _pattern(template).fullmatch(path)
        ]
        return min(found, key=lambda pair: pair[0].count("{")) if found else None

    def check_answer(self, method: str, path: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
        """Fail unless the answer is one that the document describes for this operation."""
        if status >= 400:
            problem = json.loads(content)
            assert headers["content-type"] == "application/problem+json", (status, content)
            assert problem.keys() >= PROBLEM_MEMBERS, problem
            assert (problem["status"], problem["request_id"]) == (status, headers["x-request-id"]), problem
            return
        found = self.operation(method, path)
        assert found is not None, f"{method} {path} answers {status} and is not in the document"
        described = found[1]["responses"].get(str(status))
        assert described is not None, f"{method} {path} answers {status}, which the document does not say"
        content_type = headers.get("content-type", "").partition(";")[0]
        if content_type not in {"", "application/json"}:
            assert content_type in described.get("content", {}), f"{method} {path} answers {content_type}"
            return
        schema = described.get("content", {}).get("application/json", {}).get("schema")
        if schema is not None and schema != {}:
            faults = list(self.faults(schema, json.loads(content, parse_float=Decimal)))
            assert faults == [], (method, path, faults)
            assert headers["content-type"] == "application/json"

    def resolve(self, schema: Schema) -> Schema:
        """Return the schema that a reference stands for."""
        while "$ref" in schema:
            place: Any = self.document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                place = place[part]
            schema = place
        return schema

    def allows(self, schema: Schema, value: object) -> bool:
        """Whether the schema allows the value."""
        return not any(self.faults(schema, value))

    def faults(self, schema: Schema, value: object, at: str = "$") -> Iterator[str]:
        """Yield what is wrong with a value: JSON read with fractions as Decimal, so that 1.0 is no integer."""
        schema = self.resolve(schema)
        for keyword, wanted in schema.items():
            if keyword in _SAYS_NOTHING:
                continue
            yield from getattr(self, f"_{keyword.lower()}")(wanted, value, at, schema)

    def _type(self, wanted: str | list[str], value: object, at: str, _schema: Schema) -> Iterator[str]:
        names = [wanted] if isinstance(wanted, str) else wanted
        if not any(
            isinstance(value, _TYPES[name]) and isinstance(value, bool) <= (name == "boolean") for name in names
        ):
            yield f"{at} is no {wanted}"

    def _anyof(self, wanted: list[Schema], value: object, at: str, _schema: Schema) -> Iterator[str]:
        if not any(self.allows(one, value) for one in wanted):
            yield f"{at} is none of {len(wanted)}"

    def _enum(self, wanted: list[object], value: object, at: str, _schema: Schema) -> Iterator[str]:
        if value not in wanted or isinstance(value, bool):
            yield f"{at} is not one of {wanted}"

    def _const(self, wanted: object, value: object, at: str, schema: Schema) -> Iterator[str]:
        yield from self._enum([wanted], value, at, schema)

    def _properties(self, wanted: Mapping[str, Schema], value: object, at: str, schema: Schema) -> Iterator[str]:
        if isinstance(value, dict):
            for name, member in value.items():
                if name in wanted:
                    yield from self.faults(wanted[name], member, f"{at}.{name}")
                elif schema.get("additionalProperties", True) is False:
                    yield f"{at} has a member more"

    def _required(self, wanted: list[str], value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (f"{at}.{name} is missing" for name in wanted if name not in value)

    def _additionalproperties(self, wanted: object, _value: object, _at: str, _schema: Schema) -> Iterator[str]:
        assert isinstance(wanted, bool)  # a schema here would need code of its own; False is seen to by `properties`
        yield from ()

    def _items(self, wanted: Schema, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from self.faults(wanted, item, f"{at}[{index}]")

    def _minitems(self, wanted: int, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, list) and len(value) < wanted:
            yield f"{at} has too few items"

    def _maxitems(self, wanted: int, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, list) and len(value) > wanted:
            yield f"{at} has too many items"

    def _minlength(self, wanted: int, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, str) and len(value) < wanted:
            yield f"{at} is too short"

    def _maxlength(self, wanted: int, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, str) and len(value) > wanted:
            yield f"{at} is too long"

    def _minimum(self, wanted: float, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, int | Decimal) and value < wanted:
            yield f"{at} is too small"

    def _maximum(self, wanted: float, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, int | Decimal) and value > wanted:
            yield f"{at} is too great"

    def _exclusiveminimum(self, wanted: float, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, int | Decimal) and value <= wanted:
            yield f"{at} is too small"

    def _pattern(self, wanted: str, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, str) and not re.search(wanted, value):
            yield f"{at} does not match"

    def _format(self, wanted: str, value: object, at: str, _schema: Schema) -> Iterator[str]:
        if isinstance(value, str) and not _has_format(wanted, value):
            yield f"{at} is no {wanted}"


def _has_format(name: str, text: str) -> bool:
    try:
        match name:
            case "date-time":
                return _INSTANT.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
            case "date":
                return date.fromisoformat(text) is not None
            case "email":
                return text.count("@") == 1 and not re.search(r"\s", text)
            case _:
                raise NotImplementedError(name)
    except ValueError:
        return False


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))
