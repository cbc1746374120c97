"""Which tokens are listed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from groat_server.core.scopes import Scope
from groat_server.operations.tokens import create_token, list_tokens, revoke_token
from tests.operations.ledgers import new_user

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio


async def test_a_token_that_works_is_listed_however_many_newer_ones_do_not(ledger: Ledger) -> None:
    """Taken out: `only_working` in tokens/list.sql."""
    old = await create_token(ledger, name="old", scopes=[Scope.BALANCE_READ])
    lasting = await create_token(ledger, name="lasting", scopes=[Scope.BALANCE_READ], lifetime=timedelta(days=1))
    await create_token(ledger, name="expired", scopes=[Scope.BALANCE_READ], lifetime=timedelta(0))
    revoked = await create_token(ledger, name="revoked", scopes=[Scope.BALANCE_READ])
    await revoke_token(ledger, revoked.row.id)
    assert [token.name for token in await list_tokens(ledger, only_working=True, limit=2)] == ["lasting", "old"]
    assert [token.name for token in await list_tokens(ledger, limit=2)] == ["revoked", "expired"]
    assert [token.id for token in await list_tokens(ledger, token_id=old.row.id)] == [old.row.id]
    assert await list_tokens(ledger, token_id=lasting.row.id, user_id=await new_user(ledger)) == []
