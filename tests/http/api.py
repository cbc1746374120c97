"""A client for tests: every answer is checked against the service's own OpenAPI document before a test sees it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, Self

import httpx2

from groat_server.operations.ledger import open_ledger
from groat_server.operations.tokens import create_token
from groat_server.operations.users import create_user
from tests.http.schemas import OpenApi

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from groat_server.database import Address

_numbers = count(1)


class Text(str):
    """A JSON number, as the text that it was written as."""

    __slots__ = ()


@dataclass(frozen=True)
class Answer:
    """What the service answered."""

    status: int
    headers: httpx2.Headers
    content: bytes

    @cached_property
    def body(self) -> Any:
        """The JSON, with exact numbers."""
        return json.loads(self.content, parse_float=Decimal)

    @cached_property
    def texts(self) -> Any:
        """The JSON, with each number as it was written."""
        return json.loads(self.content, parse_float=Text, parse_int=Text)

    @property
    def code(self) -> tuple[int, str | None]:
        """The status, and the code where it is a problem."""
        return self.status, self.body["code"] if self.status >= 400 else None


class Api:
    """Calls a service with one token, and holds each answer against the document of the service."""

    def __init__(self, url: str, token: str | None = None, *, document: OpenApi | None = None) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.client = httpx2.Client(base_url=url, headers=headers, timeout=60)
        self.url = url
        self.token = token
        self._others: list[Self] = []
        self.document = document or OpenApi(self.client.get("/openapi.json").json())

    @classmethod
    def as_admin(cls, url: str, address: Address) -> Self:
        """Make a client whose token is a new administrator's."""
        return cls(url, asyncio.run(_admin_token(address)))

    def with_token(self, token: str | None) -> Self:
        """Make a client of the same service with another token; it is closed with this one."""
        client = type(self)(self.url, token, document=self.document)
        self._others.append(client)
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _error: object, _traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back, those of the clients made from this one too."""
        for other in self._others:
            other.close()
        self.client.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a call; a body is sent as JSON."""
        content = None if body is None else json.dumps(body).encode()
        return self.send(
            method, path, content, query=query, headers={"Content-Type": "application/json", **(headers or {})}
        )

    def send(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make a call with these bytes."""
        given = {name: str(value) for name, value in (query or {}).items()}
        response = self.client.request(method, path, params=given or None, content=content, headers=dict(headers or {}))
        answer = Answer(response.status_code, response.headers, response.content)
        self.document.check_answer(method, path.partition("?")[0], answer.status, answer.headers, answer.content)
        return answer

    def get(self, path: str, **query: object) -> Answer:
        """GET with these query parameters."""
        return self.call("GET", path, query=query)

    def post(self, path: str, body: object, **headers: str) -> Answer:
        """POST this JSON; keyword arguments are headers."""
        return self.call("POST", path, body, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def patch(self, path: str, body: object) -> Answer:
        """PATCH with this JSON."""
        return self.call("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        """DELETE."""
        return self.call("DELETE", path)

    def new_user(self, **fields: object) -> str:
        """Create a user; returns the e-mail address."""
        email = f"person-{next(_numbers)}@example.com"
        answer = self.post("/api/v1/admin/users", {"email": email, **fields})
        assert answer.status == 201, answer.body
        return email

    def new_token(self, user: str) -> str:
        """Make a token with a user's own rights."""
        token: str = self.post(f"/api/v1/admin/users/{user}/tokens", {}).body["token"]
        return token

    def new_service_token(self, *scopes: str) -> str:
        """Make a service's token."""
        token: str = self.post("/api/v1/admin/tokens", {"name": "service", "scopes": scopes}).body["token"]
        return token

    def charge(self, user: object, key: str | None = None, credits_: object = 1, **fields: object) -> Answer:
        """Charge units of the action `unit`, whose unit costs one credit."""
        body = {"user": user, "action_type": "unit", "quantity": credits_, **fields}
        return self.post("/api/v1/usage", {**body, "idempotency_key": new_key() if key is None else key})

    def balance(self, user: str) -> Decimal:
        """Return a user's balance."""
        return Decimal(self.get(f"/api/v1/admin/users/{user}").body["balance"]["current_balance"])


def new_key() -> str:
    """Make a key that no other test has."""
    return f"key-{next(_numbers)}"


async def _admin_token(address: Address) -> str:
    async with open_ledger(address, provider_durability=True) as ledger:
        user = await create_user(ledger, f"admin-{next(_numbers)}@example.com", is_admin=True)
        return (await create_token(ledger, name="tests", user_id=user.id)).token
