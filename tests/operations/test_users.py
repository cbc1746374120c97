"""Who is meant by what a request calls a user, and when somebody is created on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from psycopg import errors

from groat_server.operations.shared_settings import change_settings
from groat_server.operations.users import find_users, find_users_to_charge
from tests.operations.ledgers import connect, rows

if TYPE_CHECKING:
    from groat_server.database import Address
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


def test_a_name_that_was_given_up_can_be_taken_and_no_other(ledger_address: Address) -> None:
    with connect(ledger_address) as connection:
        for name in ("a", "b"):
            rows(connection, "INSERT INTO users (email, external_id) VALUES (%s, %s)", (f"{name}@example.com", name))
        for column, taken, new in (("email", "A@Example.com", "new@example.com"), ("external_id", "a", "new")):
            take = f"UPDATE users SET {column} = %s WHERE id = 2"  # noqa: S608 - fixed names
            with pytest.raises(errors.UniqueViolation):
                rows(connection, take, [taken])
            rows(connection, f"UPDATE users SET {column} = %s WHERE id = 1", [new])  # noqa: S608 - the same
            rows(connection, take, [taken])
