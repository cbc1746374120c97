"""A good request for every operation of the OpenAPI document: the one that hostile and unauthorised ones begin with."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.http.api import Api
    from tests.http.schemas import OpenApi, Schema

JSON = {"Content-Type": "application/json"}

_numbers = count(1)
_HOLE = "@@hole@@"


@dataclass(frozen=True)
class Request:
    """A request: parameters as they are written in it, a body as JSON's text."""

    method: str
    template: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | bytes | None = None

    @property
    def target(self) -> str:
        """Path and query."""
        target = self.template
        for name, value in self.path.items():
            target = target.replace(f"{{{name}}}", value)
        return f"{target}?{urlencode(self.query)}" if self.query else target

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        return self.body.encode("utf-8", "surrogatepass") if isinstance(self.body, str) else self.body


class Examples:
    """Makes good requests. What the names of fields mean beyond their schemas stands in `_VALUES`."""

    def __init__(self, api: Api) -> None:
        self._document = api.document
        self._api = api
        self._user = api.new_user(monthly_allowance=10**12)
        self._user_id = str(api.get(f"/api/v1/admin/users/{self._user}").body["user"]["id"])
        details = api.post(f"/api/v1/admin/users/{self._user}/tokens", {}).body["details"]
        self._token_id = str(details["id"])
        self._event_id = self._charged(10**9)
        event = str(self._event_id)
        self._named = {"user": self._user_id, "name": "overview", "check": "total_consumed", "event_id": event}
        self._holds = {verb: self._held() for verb in ("get", "renew", "release", "capture")}

    def of(self, document: OpenApi) -> Examples:
        """Make the same of another document."""
        others = copy(self)
        others._document = document  # noqa: SLF001 - our own
        return others

    @property
    def document(self) -> OpenApi:
        """The document that the requests are made from."""
        return self._document

    def request(self, method: str, template: str, *, hole: tuple[str, ...] = (), raw: str = "") -> Request:
        """Make a good request; where there is a `hole`, a path of names in the body, `raw` is written there."""
        operation = self._document.document["paths"][template][method.lower()]
        path = {
            parameter["name"]: self._hold_for(template)
            if parameter["name"] == "hold_id"
            else self._named.get(parameter["name"], self._token_id)
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "path"
        }
        if template.endswith("/anonymise"):  # for ever: somebody else each time
            path["user"] = self._new_id()
        if template.endswith("/rotate"):  # once
            made = self._api.post(f"/api/v1/admin/users/{self._user}/tokens", {}).body
            path["token_id"] = str(made["details"]["id"])
        self._confirmed = int(path.get("user", 0))
        # A refund leaves something to refund; an event can be voided once.
        self._event = self._charged(1) if template.endswith("/voids") else self._event_id
        schema = body_schema(operation)
        if schema is None:
            return Request(method, template, path)
        body = self._example(schema, hole)
        return Request(method, template, path, headers=JSON, body=json.dumps(body).replace(json.dumps(_HOLE), raw))

    def _charged(self, credits_: int) -> int:
        charged: int = self._api.charge(self._user, credits_=credits_).body["id"]
        return charged

    def _new_id(self) -> str:
        return str(self._api.get(f"/api/v1/admin/users/{self._api.new_user()}").body["user"]["id"])

    def _held(self) -> str:
        asked = {"user": self._user, "amount": 1, "ttl_seconds": 86400, "idempotency_key": f"hold-{next(_numbers)}"}
        placed: str = self._api.post("/api/v1/holds", asked).body["id"]
        return placed

    def _hold_for(self, template: str) -> str:
        """Return a hold for this route: one of its own, and another once that is captured."""
        verb = template.rpartition("/")[2]
        if verb == "capture" and self._api.get(f"/api/v1/holds/{self._holds[verb]}").body["state"] != "open":
            self._holds[verb] = self._held()
        return self._holds.get(verb, self._holds["get"])

    def _example(self, schema: Schema, hole: tuple[str, ...]) -> Any:
        """Make the least object that the schema takes, with the hole in it."""
        schema = self._document.resolve(schema)
        if schema.get("type") == "array":
            return [self._example(schema["items"], hole[1:])]
        least = set(schema.get("required", ())) | ({"full_name"} if "effective" in schema["properties"] else set())
        if {"quantity", "action_type"} <= schema["properties"].keys():
            least |= {"quantity", "action_type"}
        if {"event_id", "amount"} <= schema["properties"].keys():
            least |= {"amount"}
        if "idempotency_key" in schema["properties"]:
            least |= {"idempotency_key"}
        if hole[:1] in {("provider",), ("input_tokens",), ("output_tokens",)} or "_tokens" in "".join(hole[:1]):
            least |= {"model", "input_tokens", "output_tokens"} & schema["properties"].keys()
        made: dict[str, Any] = {name: self._value(name, schema["properties"][name], hole[1:]) for name in sorted(least)}
        if hole and len(hole) == 1:
            made[hole[0]] = _HOLE
        elif hole:
            made[hole[0]] = self._value(hole[0], schema["properties"][hole[0]], hole[1:])
        return made

    def _value(self, name: str, schema: Schema, hole: tuple[str, ...]) -> Any:
        if name == "user":
            return self._user
        if name == "confirm":
            return self._confirmed
        if name == "event_id":
            return self._event
        if name in _VALUES:
            return _VALUES[name]()
        return self._example(schema, ("", *hole)) if name == "events" else 0


_VALUES: dict[str, Callable[[], object]] = {
    "action_type": lambda: "unit",
    "quantity": lambda: 1,
    "model": lambda: "lamp",
    "input_tokens": lambda: 1000,
    "output_tokens": lambda: 1000,
    "idempotency_key": lambda: f"example-{next(_numbers)}",
    "email": lambda: f"example-{next(_numbers)}@example.com",
    "full_name": lambda: "Somebody",
    "name": lambda: "example",
    "scopes": lambda: ["reports:read"],
    "amount": lambda: 1,
    "kind": lambda: "promotion",
    "reason": lambda: "as agreed",
}


def body_schema(operation: Schema) -> Schema | None:
    """Return the schema of an operation's body, if it takes one."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: Schema | None = content.get("application/json", {}).get("schema")
    return schema


def in_path(text: str | bytes) -> str:
    """Write a text as one segment of a path."""
    return quote(text, safe="")
