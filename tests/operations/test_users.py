"""Who is meant by what a request calls a user, and when somebody is created on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from groat_server.operations.shared_settings import change_settings
from groat_server.operations.users import find_users, find_users_to_charge

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio


async def test_only_a_charge_creates_unknown_users_and_only_where_the_setting_says_so(ledger: Ledger) -> None:
    """Seen to fail where every look-up created: a report of a mistyped address made a user with 100 credits."""
    assert await find_users_to_charge(ledger, ["new@example.com"]) == [None]
    async with ledger.database.write() as connection:
        await change_settings(connection, create_users=True)
    assert await find_users(ledger, ["new@example.com"]) == [None]
    (created,) = await find_users_to_charge(ledger, [" New@Example.com"])
    assert created is not None
    assert await find_users(ledger, ["new@example.com"]) == [created]
