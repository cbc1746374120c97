"""A user's pages take as many statements for many rows as for one, and few of them."""

from __future__ import annotations

import html
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from groat_server.http.application import create_app
from groat_server.http.service import Service
from groat_server.operations.corrections import Refund, refund_event
from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.sessions import sign_in_by_token
from groat_server.operations.tokens import create_token
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user
from groat_server.sql import Statement
from tests.operations.ledgers import new_user, use

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

STATEMENTS_MAX = 8
"""Of a page, the one of its session included."""


async def _fill(ledger: Ledger, user_id: int, event_id: int, numbers: range) -> None:
    """Give a user so many of everything that the pages list."""
    await charge(ledger, [use(user_id, f"k{number}", 1) for number in numbers])
    for number in numbers:
        said: dict[str, Any] = {"user_id": user_id, "actor": "tests", "reason": "why", "event_id": event_id}
        await refund_event(ledger, Refund(**said, key=f"r{number}", amount=Decimal("0.1")))
        await place_hold(
            ledger, NewHold(user_id=user_id, idempotency_key=f"h{number}", seconds=600, amount=Decimal("0.1"))
        )
        await create_token(ledger, name="t", user_id=user_id, actor="tests")


async def test_a_users_pages_take_as_many_statements_for_fifty_rows_as_for_one(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []
    all_rows = Statement.all

    async def counted(statement: Statement[Any], *arguments: Any, **parameters: Any) -> list[Any]:
        run.append(statement.name)
        return await all_rows(statement, *arguments, **parameters)

    admin = await create_user(ledger, "admin@example.com", is_admin=True)
    made = await create_token(ledger, name="admin", user_id=admin.id)
    cookies = {"groat_session": await sign_in_by_token(ledger, made.token, user_agent="tests")}
    user_id = await new_user(ledger)
    (receipt,) = await charge(ledger, [use(user_id, "first", 20)])
    assert receipt.booking is not None
    event_id = receipt.booking.event_id
    await _fill(ledger, user_id, event_id, range(1))
    app = create_app(Service(ledger.database.address, provider_durability=True))
    app.state.ledger = ledger
    monkeypatch.setattr(Statement, "all", counted)
    here = f"/ui/users/{user_id}"
    pages = [
        *(f"{here}?part={part}" for part in ("events", "entries", "lots", "tokens", "audit")),
        f"{here}/events/{event_id}",
        f"{here}/grant",
        f"{here}/events/{event_id}/refund",
        f"{here}/sql?as_of=2026-01-01T00:00:00Z",
    ]

    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://localhost", cookies=cookies
    ) as client:

        async def statements() -> dict[str, list[str]]:
            found = {}
            for path in pages:
                run.clear()
                answer = await client.get(path)
                assert answer.status_code == 200, (path, answer.text)
                found[path] = list(run)
            return found

        await statements()  # the price book is read once
        few = await statements()
        await _fill(ledger, user_id, event_id, range(1, 51))
        assert await statements() == few
    assert max(map(len, few.values())) <= STATEMENTS_MAX


async def test_who_is_sought_among_everybody_is_read_on_among_everybody(ledger: Ledger) -> None:
    """Taken out: `show` in the pager's link; the next page took the cursor for one of accounts, and refused it."""
    admin = await create_user(ledger, "admin@example.com", is_admin=True)
    made = await create_token(ledger, name="admin", user_id=admin.id)
    cookies = {"groat_session": await sign_in_by_token(ledger, made.token, user_agent="tests")}
    for number in range(51):
        await create_user(ledger, f"trial{number}@example.com", demo_mode=True)
    app = create_app(Service(ledger.database.address, provider_durability=True))
    app.state.ledger = ledger
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://localhost", cookies=cookies
    ) as client:
        first = await client.get("/ui/users?search=trial")
        link = re.search(r'rel="next" href="([^"]+)"', first.text)
        assert link is not None
        second = await client.get(html.unescape(link[1]))
    assert second.status_code == 200
    assert len(set(re.findall(r"trial\d+@", first.text))) == 50
    assert set(re.findall(r"trial\d+@", second.text)) - set(re.findall(r"trial\d+@", first.text)) != set()
