"""Renders docs/api.md from the application's own OpenAPI document: routes with their scopes, fields, answers, examples.

`make reference` writes it; a test says whether it is current.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from groat_server.database import Address
from groat_server.errors import GroatError
from groat_server.http.application import create_app
from groat_server.http.dependencies import ProtectedRoute
from groat_server.http.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fastapi import FastAPI

Schema = dict[str, Any]

_HEAD = """\
<!-- Written by `make reference` from the service's own OpenAPI document. Do not edit. -->

# HTTP reference

Every route of the service, as its own OpenAPI document has it. A running service serves the same as a page to try
things on at `/docs`, and the document at `/openapi.json`. What the words mean, with whole requests and answers, is in
[HTTP](http.md); what becomes of a charge in [outcomes](outcomes.md).

Every route below `/api/` takes `Authorization: Bearer TOKEN`. Amounts are JSON numbers with their exact digits, times
are UTC. Bodies and answers are `application/json`, errors `application/problem+json`.
"""
_TAGS = {
    "usage": "Usage",
    "holds": "Holds",
    "ledger": "The ledger",
    "reports": "Reports and checks",
    "administration": "Administration",
    "own account": "The own account",
    "probes": "Probes",
}
_CODES = """
413 and 415 are answers to requests with a body. Below, a refusal's status has one of several codes:
[errors](http.md#errors) lists them, [outcomes](outcomes.md) those of charges, holds and corrections.
"""
_COMMON = ("401", "403", "413", "415", "503")
"""Statuses that every route has, described once."""

_EXAMPLES: dict[str, object] = {
    "action_type": "ai_chat_message",
    "amount": 20,
    "confirm": 50,
    "cost_basis": "0.08",
    "email": "user@example.com",
    "event_id": 12508,
    "expires_at": "2027-01-01T00:00:00Z",
    "full_name": "John Doe",
    "grace_hours": 24,
    "idempotency_key": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "input_tokens": 1000,
    "kind": "purchase",
    "max_output_tokens": 2000,
    "mode": "enforce",
    "model": "claude-3-5-sonnet",
    "monthly_allowance": 250,
    "name": "billing",
    "output_tokens": 500,
    "reason": "invoice 2041",
    "scopes": ["usage:write", "balance:read"],
    "time_zone": "Europe/Berlin",
    "ttl_seconds": 300,
    "user": "user@example.com",
}
_UNBOUNDED = 2**53
_WORDS = {"string": "text", "integer": "whole number", "boolean": "true or false"}
_FORMATS = {"date-time": "time", "email": "e-mail address"}
_NOT_TOGETHER = {"HoldRequest": {"amount"}}
"""Fields that an example leaves out because another one stands in their place."""

_NO_KEY = {"UserChange"}
"""Bodies whose key belongs to a case that the example is not."""


def render() -> str:
    """Return the page's text."""
    app = create_app(Service(Address("postgresql://nowhere")))
    document = app.openapi()
    return "\n".join([_HEAD, *_routes(document, _scopes(app)), *_shapes(document)])


def example_of(name: str, schemas: Mapping[str, Schema]) -> dict[str, object] | None:
    """Return an example of a body; None where nothing has to be in it and there is nothing to show."""
    schema = schemas[name]
    skipped = _NOT_TOGETHER.get(name, set()) | ({"idempotency_key"} if name in _NO_KEY else set())
    example: dict[str, object] = {}
    for field, its in schema.get("properties", {}).items():
        items = its.get("items", {})
        if "$ref" in items and field not in _EXAMPLES:
            example[field] = [example_of(_name(items["$ref"]), schemas)]
        elif field in _EXAMPLES and field not in skipped:
            example[field] = _EXAMPLES[field]
    return example or None


def _scopes(app: FastAPI) -> dict[tuple[str, str], str]:
    """Return who may call each route, by method and path."""
    scopes = {}
    for route in _all_routes(app.routes):
        who = f"a token with `{route.scope}`" if route.scope else "any valid token"
        if route.path.startswith("/api/v1/me/"):
            who = "a user's token"
        scopes.update({(method, route.path_format): who for method in route.methods or ()})
    return scopes


def _all_routes(routes: Iterable[Any]) -> Iterator[ProtectedRoute]:
    for route in routes:
        if isinstance(route, ProtectedRoute):
            yield route
        else:
            yield from _all_routes(getattr(getattr(route, "original_router", None), "routes", ()))


def _routes(document: Schema, scopes: Mapping[tuple[str, str], str]) -> Iterator[str]:
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    yield "## Statuses that any route may answer\n"
    yield "| Status | Code | When |\n| --- | --- | --- |"
    described = {code: text for _, _, each in operations for code, text in _problems(each).items()}
    for status in _COMMON:
        yield f"| {status} | `{_code(status)}` | {described[status]} |"
    yield _CODES
    for tag, title in _TAGS.items():
        yield f"## {title}\n"
        for method, path, operation in operations:
            if operation["tags"] == [tag]:
                yield from _route(method, path, operation, scopes.get((method, path), "anybody"), document)
    unknown = {tag for _, _, operation in operations for tag in operation["tags"]} - _TAGS.keys()
    if unknown:
        raise SystemExit(f"These tags have no title in {__file__}: {sorted(unknown)}")


def _route(method: str, path: str, operation: Schema, who: str, document: Schema) -> Iterator[str]:
    yield f"### `{method} {path}`\n"
    yield f"{_text(operation.get('description') or operation['summary'])}\n"
    yield f"For {who}.\n"
    if operation.get("parameters"):
        yield "| Parameter | In | Type | What |\n| --- | --- | --- | --- |"
        for parameter in operation["parameters"]:
            name = "Idempotency-Key" if parameter["name"] == "idempotency-key" else parameter["name"]
            kind = _type(parameter["schema"])
            yield f"| `{name}` | {parameter['in']} | {kind} | {_what(parameter, needed=parameter['required'])} |"
        yield ""
    body = operation.get("requestBody")
    if body:
        yield from _body(_schema_of(body), document)
    yield from _answers(operation)


def _body(schema: Schema, document: Schema) -> Iterator[str]:
    name = _name(schema["$ref"])
    schemas = document["components"]["schemas"]
    yield f"Body: {_text(schemas[name].get('description', ''))}\n"
    yield from _fields(schemas[name])
    example = example_of(name, schemas)
    if example is not None:
        yield f"```json\n{json.dumps(example, indent=2)}\n```\n"


def _fields(schema: Schema) -> Iterator[str]:
    if not schema.get("properties"):
        return
    yield "| Field | Type | What |\n| --- | --- | --- |"
    for name, field in schema["properties"].items():
        yield f"| `{name}` | {_type(field)} | {_what(field, needed=name in schema.get('required', ()))} |"
    yield ""


def _answers(operation: Schema) -> Iterator[str]:
    yield "| Status | Answer |\n| --- | --- |"
    for status, response in sorted(operation["responses"].items()):
        if status in _COMMON and "application/problem+json" in response.get("content", {}):
            continue
        if status.startswith("2"):
            content = response.get("content", {})
            kinds = [
                _type(each["schema"]) if kind == "application/json" else f"`{kind}`" for kind, each in content.items()
            ]
            said = "" if response["description"] == "Successful Response" else f"{_text(response['description'])} "
            yield f"| {status} | {said}{', '.join(kinds) or 'nothing'} |"
        else:
            code = f"`{_code(status)}`: " if status == "402" else ""
            yield f"| {status} | {code}{_text(response['description'])} |"
    yield ""


def _shapes(document: Schema) -> Iterator[str]:
    """Yield the shapes of answers, and of what bodies contain."""
    schemas = document["components"]["schemas"]
    bodies = {
        _name(_schema_of(operation["requestBody"])["$ref"])
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    }
    # What a body contains is a shape as well; a body that nothing refers to has its table at its route only.
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schemas)))
    yield "## Shapes\n"
    for name in sorted(schemas.keys() - (bodies - referred)):
        yield f"### {name}\n"
        yield f"{_text(schemas[name].get('description', ''))}\n"
        if "enum" in schemas[name]:
            yield f"One of {_choices(schemas[name]['enum'])}.\n"
        yield from _fields(schemas[name])


def _problems(operation: Schema) -> dict[str, str]:
    return {
        status: _text(response["description"])
        for status, response in operation["responses"].items()
        if "application/problem+json" in response.get("content", {})
    }


def _code(status: str) -> str:
    return next(error.code for error in GroatError.__subclasses__() if str(error.status) == status)


def _schema_of(body: Schema) -> Schema:
    schema: Schema = body["content"]["application/json"]["schema"]
    return schema


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _type(schema: Schema) -> str:
    """Return a schema's type in a few words."""
    if "$ref" in schema:
        name = _name(schema["$ref"])
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        nullable = ["null"] if len(kinds) < len(schema["anyOf"]) else []
        return " or ".join(dict.fromkeys(kinds + nullable))
    if "enum" in schema or "const" in schema:
        return _choices(schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return _simple_type(schema)


def _simple_type(schema: Schema) -> str:
    """Return the type of a schema that is made of no others."""
    if schema.get("type") == "object" and schema.get("properties"):
        return "object with " + ", ".join(f"`{name}`" for name in schema["properties"])
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    if str(schema.get("pattern", "")).startswith("^[0-9]"):
        return "decimal as text"
    kinds: list[str] | str = schema.get("type", "anything")
    return " or ".join(_WORDS.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _what(field: Schema, *, needed: bool) -> str:
    """Return what is to know of a field beside its type."""
    schema = field.get("schema", field)
    kinds = [schema, *schema.get("anyOf", [])]
    words = ["required" if needed else "", _text(field.get("description", schema.get("description", ""))).rstrip(".")]
    for each in kinds:
        low, high = each.get("minimum", each.get("exclusiveMinimum")), each.get("maximum")
        if low is not None and high is not None and high < _UNBOUNDED:
            words.append(f"{'more than ' if 'exclusiveMinimum' in each else ''}{low:,.0f} to {high:,.0f}")
        if each.get("maxItems"):
            words.append(f"at most {each['maxItems']:,}")
        if each.get("maxLength"):
            words.append(f"at most {each['maxLength']:,} characters")
    if schema.get("default") is not None:
        words.append(f"default `{json.dumps(schema['default']).strip(chr(34))}`")
    return "; ".join(dict.fromkeys(word for word in words if word))


def _choices(values: Iterable[object]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _text(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")
