"""Hostile requests, generated from an OpenAPI document, and the judge of what they are answered."""

from __future__ import annotations

import gzip
import json
import unicodedata
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.http.examples import JSON, Request, body_schema, in_path
from tests.http.schemas import PROBLEM_MEMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.http.examples import Examples
    from tests.http.schemas import OpenApi, Schema

MARK = "zqxjv"
"""Stands in hostile texts; no answer may have it."""

BATCH_BYTES_MAX = 5 * 2**20
BODY_BYTES_MAX = 256 * 2**10

_BIG = "1" + "0" * 30
VALUES: Mapping[str, str] = {
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "1e999": "1e999",
    "1e1000000": "1e1000000",
    "1e-1000000": "1e-1000000",
    "13 decimals": "0.1234567890123",
    "2^31": str(2**31),
    "2^63": str(2**63),
    "10^30": _BIG,
    "5,000 digits": "7" * 5000,
    "a fraction of 5,000 digits": "0." + "7" * 5000,
    "-1": "-1",
    "-0.5": "-0.5",
    "-0": "-0",
    "true": "true",
    "false": "false",
    "text 7": '"7"',
    "text NaN": '"NaN"',
    "text 1e5": '"1e5"',
    "text of other digits": '"\u0667"',
    "1.0": "1.0",
    "null": "null",
    "empty text": '""',
    "blank text": '"  "',
    "long text": json.dumps(MARK * 2000),
    "NUL": f'"{MARK}\\u0000"',
    "control character": f'"{MARK}\\u0007"',
    "C1 control character": f'"{MARK}\\u0085"',
    "lone surrogate": f'"{MARK}\\ud800"',
    "the wrong pair of surrogates": f'"{MARK}\\udc00\\ud800"',
    "e-mail with NUL": f'"{MARK}\\u0000@example.com"',
    "a raw control character": f'"{MARK}\x01"',
    "a raw surrogate": f'"{MARK}\ud800"',
    "list": "[]",
    "list of lists": "[[[]]]",
    "object": "{}",
    "object of something": json.dumps({MARK: MARK}),
    "key with a surrogate": f'{{"{MARK}\\ud800": 1}}',
    "key with NUL": f'{{"{MARK}\\u0000": 1}}',
    "key that stands twice": '{"external_id": "a", "external_id": "b"}',
    "external id with NUL": '{"external_id": "\\u0000"}',
    "external id of a number": '{"external_id": 7}',
    "external id and more": '{"external_id": "a", "id": 1}',
    "nested surrogate": f'{{"a": [{{"b": "{MARK}\\ud800"}}]}}',
    "a fraction within": '{"a": 1.5}',
    "nested numbers": '{"a": [1e60, 1e-60, 123456789012345678901234567890]}',
    "too big a number within": '{"a": 1e400}',
    "deep nesting": "[" * 100_000 + "]" * 100_000,
    "a deep object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    **{f"an object {depth} deep": '{"a":' + "[" * depth + "]" * depth + "}" for depth in (100, 400, 700, 850, 950)},
    "time without zone": '"2026-01-01T00:00:00"',
    "impossible time": '"2026-02-30T00:00:00Z"',
    "time before all times": '"0000-01-01T00:00:00Z"',
    "time after all times": '"9999-12-31T23:59:59-23:59"',
    "zone that is a directory": '"America"',
    "zone that is a path": '"../../etc/passwd"',
    "zone of a file that is none": '"zone.tab"',
    "zone with leap seconds": '"right/UTC"',
    "local zone": '"localtime"',
    "zone by its rules": '"posixrules"',
    "zone that says nothing": '"Factory"',
    "scope twice": '["admin", "admin"]',
    "scopes without number": json.dumps(["admin"] * 1000),
    "scope that is none": f'["{MARK}"]',
}

PARAMETERS: Mapping[str, str] = {
    **{name: name for name in ("NaN", "Infinity", "1e999", "1e9", "true", "null", "1.0", "abc", "-1", "0", "99999999")},
    "2^31": str(2**31),
    "2^63": str(2**63),
    "10^30": _BIG,
    "5,000 digits": "7" * 5000,
    "5,000 noughts": "0" * 5000 + "7",
    "nothing": "",
    "blank": " ",
    "sign": "+7",
    "underscore": "1_0",
    "white space": " 7 ",
    "other digits": "\u0667",
    "NUL": f"{MARK}\0",
    "control character": f"{MARK}\x07",
    "long text": MARK * 5000,
    "slash": "a/b",
    "dots": "..",
    "e-mail with NUL": f"{MARK}\0@example.com",
    "e-mail with a slash": "a/b@example.com",
    "two e-mails": "a@b@example.com",
    "list": "[1]",
    "statement": f"1; SELECT '{MARK}'",
}


@dataclass(frozen=True)
class Attack:
    """A hostile request. It may be taken only where `legal`; `secret` is what no answer may repeat."""

    name: str
    request: Request
    legal: bool
    secret: str = MARK


def attacks(examples: Examples, method: str, template: str) -> Iterator[Attack]:
    """Yield everything hostile that can be sent to one operation."""
    operation = examples.document.document["paths"][template][method.lower()]
    yield from _parameters(examples, method, template, operation)
    schema = body_schema(operation)
    if schema is not None:
        yield from _fields(examples, method, template, schema)
        yield from _bodies(examples, method, template)
    yield from _queries(examples.request(method, template))


def _parameters(examples: Examples, method: str, template: str, operation: Schema) -> Iterator[Attack]:
    good = examples.request(method, template)
    for parameter in operation.get("parameters", []):
        name, place, schema = parameter["name"], parameter["in"], parameter["schema"]
        if place == "header":
            yield from _header(good, name)
            continue
        for kind, value in PARAMETERS.items():
            legal = _parameter_is_legal(examples.document, schema, value)
            if place == "query":
                request = replace(good, query={name: value})
            else:
                legal = legal and value not in {"", ".."}  # those are other paths
                request = replace(good, path={**good.path, name: in_path(value)})
            yield Attack(f"{place} {name}: {kind}", request, legal)
        if place == "path":
            for kind, text in {"bad UTF-8": b"\xff", "a surrogate in UTF-8": b"\xed\xa0\x80", "NUL": b"\0"}.items():
                path = {**good.path, name: in_path(MARK.encode() + text)}
                yield Attack(f"path {name}: {kind} in bytes", replace(good, path=path), legal=False)
            huge = {**good.path, name: MARK * 10_000}
            yield Attack(f"path {name}: 50,000 bytes", replace(good, path=huge), legal=False)


def _parameter_is_legal(document: OpenApi, schema: Schema, text: str) -> bool:
    """Whether a parameter may be this text: as a text, or as the whole number that its digits are."""
    if not _is_clean(text):
        return False
    if document.allows(schema, text):
        return True
    return text.isascii() and text.isdigit() and len(text) < 20 and document.allows(schema, int(text))


def _header(good: Request, name: str) -> Iterator[Attack]:
    body = json.loads(good.body or "{}")
    body.pop("idempotency_key", None)
    for kind, value in {
        "256 characters": MARK + "k" * 251,
        "nothing": "",
        "a tab": f"{MARK}\tk",
        "C1": f"{MARK}\x85",
    }.items():
        request = replace(good, headers={**JSON, name: value}, body=json.dumps(body))
        yield Attack(f"header {name}: {kind}", request, legal=False)


def _fields(examples: Examples, method: str, template: str, schema: Schema) -> Iterator[Attack]:
    for hole, field_schema in _holes(examples.document, schema):
        for kind, raw in VALUES.items():
            request = examples.request(method, template, hole=hole, raw=raw)
            legal = _is_legal(examples.document, field_schema, raw)
            yield Attack(f"field {'.'.join(hole)}: {kind}", request, legal)


def _holes(document: OpenApi, schema: Schema, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield each field of a body, those of a list's items too, as a path of names with its schema."""
    schema = document.resolve(schema)
    for name, field_schema in schema.get("properties", {}).items():
        yield (*above, name), field_schema
        items = document.resolve(field_schema.get("items", {}))
        if "properties" in items:
            yield from _holes(document, items, (*above, name))


def _is_legal(document: OpenApi, schema: Schema, raw: str) -> bool:
    """Whether the schema takes what `raw` says, and it is strict JSON of clean texts in the first place."""
    try:
        value = json.loads(
            raw, parse_float=_bounded, parse_int=_whole, parse_constant=_refuse, object_pairs_hook=_unique
        )
        return _is_clean(value) and document.allows(schema, value)
    except (ValueError, ArithmeticError, RecursionError):
        return False


def _bounded(text: str) -> Decimal:
    number = Decimal(text)
    if abs(number.adjusted()) > 100 or len(text) > 100:
        raise ValueError(text)
    return number


def _whole(text: str) -> int:
    return int(_bounded(text))


def _refuse(name: str) -> None:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError(pairs)
    return dict(pairs)


def _is_clean(value: object) -> bool:
    match value:
        case str():
            return not any(unicodedata.category(character) in {"Cc", "Cs"} for character in value)
        case dict():
            return all(_is_clean(key) and _is_clean(member) for key, member in value.items())
        case list():
            return all(map(_is_clean, value))
        case _:
            return True


def _bodies(examples: Examples, method: str, template: str) -> Iterator[Attack]:
    good = examples.request(method, template)
    text = str(good.body)
    secret = f"{MARK}@example.com"
    members: dict[str, Any] = json.loads(text)
    first = json.dumps(next(iter(members), MARK))
    value = json.dumps(members.get(json.loads(first)))
    limit = BATCH_BYTES_MAX if template.endswith("/batch") else BODY_BYTES_MAX
    wrong: dict[str, str | bytes | None] = {
        "nothing": None,
        "no bytes": b"",
        "null": "null",
        "a list": f"[{text}]",
        "a number": "7",
        "a text": json.dumps(secret),
        "half of it": text[: len(text) // 2],
        "something after it": text + "{}",
        "a comma more": text[:-1] + ",}",
        "no JSON": f"user={secret}",
        "an unknown field": json.dumps({**members, "is_superuser": secret}),
        "an unknown field with a surrogate": f'{text[:-1]}, "{MARK}\\ud800": 1}}',
        "an unknown field with NUL": f'{text[:-1]}, "{MARK}\\u0000": 1}}',
        "an unknown field of 5,000 characters": f'{text[:-1]}, "{MARK * 1000}": 1}}',
        "a key that stands twice": f"{{{first}: {value}, {first}: {value}}}",
        "UTF-16": text.encode("utf-16"),
        "UTF-16 without BOM": text.encode("utf-16-le"),
        "UTF-32": text.encode("utf-32"),
        "a BOM": b"\xef\xbb\xbf" + text.encode(),
        "bad UTF-8": text.encode()[:-1] + b', "\xff": 1}',
        "compressed": gzip.compress(text.encode()),
        "deep nesting": "[" * 100_000,
        "too many bytes": text + " " * limit,
    }
    for kind, body in wrong.items():
        yield Attack(f"body: {kind}", replace(good, body=body), legal=False)
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        yield Attack(f"content type: {kind}", replace(good, headers={"Content-Type": kind}), legal=False)
    yield Attack("content type: none", replace(good, headers={}), legal=False)


def _queries(good: Request) -> Iterator[Attack]:
    for name in ("unknown", "is_admin", "limit[]", "\0"):
        yield Attack(f"unknown query parameter {name!r}", replace(good, query={name: MARK}), legal=False)


def fault(attack: Attack, status: int, headers: Mapping[str, str], content: bytes) -> str | None:
    """Return what is wrong with an answer to an attack, or None."""
    told = content.decode("utf-8", "replace")
    if status < 400:
        return None if attack.legal or _is_refused_in_batch(attack, content) else f"accepted with {status}"
    if status >= 500:
        return f"{status}: {told[:200]}"
    if headers.get("content-type") != "application/problem+json" or not json.loads(content).keys() >= PROBLEM_MEMBERS:
        return f"{status} is no problem document: {told[:200]}"
    return f"{status} repeats the input: {told[:200]}" if attack.secret in told else None


def _is_refused_in_batch(attack: Attack, content: bytes) -> bool:
    """Whether the one item of a batch was found invalid, and the answer does not repeat it."""
    if not attack.request.template.endswith("/batch"):
        return False
    results = json.loads(content)["results"]
    return all(result["outcome"] == "invalid" for result in results) and attack.secret not in content.decode()
