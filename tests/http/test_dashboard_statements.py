"""A page takes as many statements for many rows as for few, and few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from groat_server.http.application import create_app
from groat_server.http.service import Service
from groat_server.operations.feed import Feed
from groat_server.operations.sessions import sign_in_by_token
from groat_server.operations.tokens import create_token
from groat_server.operations.usage import charge
from groat_server.operations.users import update_user
from groat_server.sql import Statement
from tests.operations.ledgers import new_user, use

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

PAGES = (
    "/ui/usage",
    "/ui/usage?group=user&days=7",
    "/ui/events",
    "/ui/users",
    "/ui/users?search=user",
    "/ui/alerts",
    "/ui/alerts/runway",
    "/ui/checks",
    "/ui/checks/durable",
    "/ui/prices",
    "/ui/prices/usage",
    "/ui/prices/model/lamp",
    "/ui/reports",
    "/ui/reports/recent-activity",
    "/ui/reports/user-events?user=1",
    "/ui/tokens/new",
    "/ui/tokens",
    "/ui/audit",
    "/ui/sessions",
    "/ui/live",
)
STATEMENTS_MAX = 10
"""Of a page, the two of its session included."""


async def test_a_page_takes_as_many_statements_for_many_rows_as_for_few(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []
    all_rows = Statement.all

    async def counted(statement: Statement[Any], *arguments: Any, **parameters: Any) -> list[Any]:
        run.append(statement.name)
        return await all_rows(statement, *arguments, **parameters)

    admin = await new_user(ledger)
    await update_user(ledger, admin, is_admin=True)
    made = await create_token(ledger, name="admin", user_id=admin)
    cookies = {"groat_session": await sign_in_by_token(ledger, made.token, user_agent="test")}
    app = create_app(Service(ledger.database.address, provider_durability=True))
    app.state.ledger = ledger
    app.state.feed = Feed(ledger)
    await charge(ledger, [use(admin, "key", 1)])
    monkeypatch.setattr(Statement, "all", counted)
    transport = httpx2.ASGITransport(app=app)

    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", cookies=cookies) as client:

        async def statements() -> dict[str, list[str]]:
            found = {}
            for path in PAGES:
                run.clear()
                answer = await client.get(path)
                assert answer.status_code == 200, (path, answer.text[:2000])
                found[path] = sorted(run)
            return found

        few = await statements()
        everybody = [await new_user(ledger) for _ in range(60)]
        for number in range(3):
            await charge(ledger, [use(user, f"{number}", 2) for user in everybody])
        assert await statements() == few
    assert max(map(len, few.values())) <= STATEMENTS_MAX
