"""Pages of reports take a constant number of statements, however many users and events there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from groat_server.operations import reports, users
from groat_server.operations.usage import charge
from groat_server.sql import Statement
from tests.operations.ledgers import new_user, use

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio


async def test_a_page_takes_as_many_statements_for_many_users_as_for_few(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []
    all_rows = Statement.all

    async def counted(statement: Statement[Any], *arguments: Any, **parameters: Any) -> list[Any]:
        run.append(statement.name)
        return await all_rows(statement, *arguments, **parameters)

    monkeypatch.setattr(Statement, "all", counted)

    async def pages() -> dict[str, int]:
        counts = {}
        for name, page in {
            "users": reports.users(ledger, limit=500, sort_by="consumed"),
            "list": users.list_users(ledger, limit=500),
            "overview": reports.overview(ledger, days=30),
            "top": reports.run_report(ledger, "top-consumers"),
        }.items():
            run.clear()
            await page
            counts[name] = len(run)
        return counts

    await charge(ledger, [use(await new_user(ledger), "key", 1)])
    few = await pages()
    everybody = [await new_user(ledger) for _ in range(60)]
    await charge(ledger, [use(user, f"{number}", 1) for user in everybody for number in range(5)])
    assert await pages() == few
    assert set(few.values()) == {1}
