"""Every administrative act leaves a row in the audit log, in its own transaction, by whatever path it comes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from groat_server.core.scopes import Scope
from groat_server.operations.audit import list_acts
from groat_server.operations.prices import set_price, set_pricing, sync_catalogue
from groat_server.operations.shared_settings import change_settings
from groat_server.operations.tokens import authenticate, create_token, revoke_token, rotate_token
from groat_server.operations.usage import charge
from groat_server.operations.users import create_user, ensure_users, update_user
from tests.operations.ledgers import ask, connect, new_user, rows, use

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.core.rows import AuditRow
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

HISTORY = "GR002"


async def _acts(ledger: Ledger) -> list[AuditRow]:
    """Return what was done since the template was made, oldest first, and forget that it was."""
    acts = await list_acts(ledger, limit=500)
    with connect(ledger.database.address, session_replication_role="replica") as connection:
        rows(connection, "TRUNCATE audit_log")
    return acts[::-1]


def _told(acts: Sequence[AuditRow]) -> list[tuple[str, str, int | None]]:
    return [(act.actor, act.act, act.user_id) for act in acts]


async def test_the_catalogue_is_one_act_and_each_price_of_our_own_is_one(ledger: Ledger) -> None:
    catalogue, *own = await _acts(ledger)
    assert (catalogue.act, catalogue.details["sources"].keys()) == ("prices_added", {"catalogue"})
    assert catalogue.details["count"] > 2000
    assert [(act.act, act.details["name"]) for act in own] == [("price_set", "lamp"), ("price_set", "unit")]
    async with ledger.database.act("somebody") as connection:
        await sync_catalogue(connection)
    assert await _acts(ledger) == []


async def test_what_is_done_to_users_is_told_with_what_changed_but_not_who_they_are(ledger: Ledger) -> None:
    await _acts(ledger)
    user = await create_user(ledger, "canary@example.com", full_name="Canary Bird", external_id="canary-1", actor="me")
    await update_user(ledger, user.id, email="other-canary@example.com", full_name="Canary", is_admin=True, actor="me")
    await update_user(ledger, user.id, time_zone="Asia/Tokyo", actor="you")
    await update_user(ledger, user.id, time_zone="Asia/Tokyo", actor="you")
    acts = await _acts(ledger)
    assert _told(acts) == [
        ("me", "user_created", user.id),
        ("me", "user_changed", user.id),
        ("you", "user_changed", user.id),
    ]
    created, named, moved = (act.details for act in acts)
    assert (created["is_admin"], created["time_zone"]) == (False, "UTC")
    assert named == {
        "columns": ["email", "full_name", "is_admin"],
        "before": {"is_admin": False},
        "after": {"is_admin": True},
    }
    assert moved == {"columns": ["time_zone"], "before": {"time_zone": "UTC"}, "after": {"time_zone": "Asia/Tokyo"}}
    assert "canary" not in str(acts).lower().replace("other-canary@example.com", "")  # the row's own, present address


async def test_many_users_created_by_one_statement_are_one_act_and_none_where_there_are_none(ledger: Ledger) -> None:
    await _acts(ledger)
    async with ledger.database.write() as connection:
        assert await ensure_users(connection, ["a@example.com", "b@example.com"]) == 2
        assert await ensure_users(connection, ["a@example.com", "b@example.com"]) == 0
    statement = "INSERT INTO users (email, is_admin) SELECT n || '@example.com', n = 2 FROM generate_series(1, 3) n"
    ask(ledger.database.address, statement)
    several, with_an_admin = await _acts(ledger)
    assert (several.act, several.details["count"], "admins" in several.details) == ("users_created", 2, False)
    assert (with_an_admin.details["count"], len(with_an_admin.details["admins"])) == (3, 1)


async def test_sql_by_hand_is_told_with_the_role_that_ran_it(ledger: Ledger) -> None:
    """The guide's own statement makes an administrator. Taken out: the trigger users_audit_changed."""
    user_id = await new_user(ledger)
    await _acts(ledger)
    address = ledger.database.address
    ask(address, "UPDATE users SET is_admin = true WHERE id = %s", [user_id])
    ((role,),) = ask(address, "SELECT session_user")
    (act,) = await _acts(ledger)
    assert (act.actor, act.act, act.user_id, act.details["after"]) == (
        f"role:{role}",
        "user_changed",
        user_id,
        {"is_admin": True},
    )


async def test_what_is_done_to_tokens_is_told_by_prefix_and_scopes(ledger: Ledger) -> None:
    """That a token is used is no act. Taken out: the list of columns of access_tokens_audit_changed."""
    user_id = await new_user(ledger)
    await _acts(ledger)
    mine = await create_token(ledger, name="canary", user_id=user_id, actor="me")
    apps = await create_token(ledger, name="app", scopes=[Scope.USAGE_WRITE], lifetime=timedelta(days=9), actor="me")
    await authenticate(ledger, mine.token)
    newer = await rotate_token(ledger, apps.row.id, actor="you")
    await revoke_token(ledger, mine.row.id, actor="you")
    acts = await _acts(ledger)
    assert _told(acts) == [
        ("me", "token_created", user_id),
        ("me", "token_created", None),
        ("you", "token_created", None),
        ("you", "token_changed", None),
        ("you", "token_revoked", user_id),
    ]
    assert [act.details["token_id"] for act in acts] == [
        mine.row.id,
        apps.row.id,
        newer.row.id,
        apps.row.id,
        mine.row.id,
    ]
    assert (acts[1].details["prefix"], acts[1].details["scopes"]) == (apps.row.prefix, ["usage:write"])
    assert "canary" not in str([act.details for act in acts])
    assert "token_hash" not in str([act.details for act in acts])


async def test_settings_and_prices_are_told_with_what_they_were_and_are(ledger: Ledger) -> None:
    await _acts(ledger)
    async with ledger.database.act("me") as connection:
        await change_settings(connection, strict_action_types=True)
        await change_settings(connection, strict_action_types=True)
        await set_pricing(connection, multiplier=Decimal(2))
        await set_price(connection, kind="action", name="image", rates={"credits_per_use": 1}, note="canary")
    settings, book, price = await _acts(ledger)
    assert _told([settings, book, price]) == [
        ("me", "ledger_settings_changed", None),
        ("me", "price_book_changed", None),
        ("me", "price_set", None),
    ]
    assert settings.details["after"] == {"strict_action_types": True}
    assert (book.details["before"]["multiplier"], book.details["after"]["multiplier"]) == (1, 2)
    assert (price.details["name"], price.details["rates"]) == ("image", {"credits_per_use": 1})


async def test_a_charge_is_no_administrative_act(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    await _acts(ledger)
    await charge(ledger, [use(user_id, f"{number}") for number in range(3)])
    assert await _acts(ledger) == []


async def test_an_act_that_fails_leaves_no_row(ledger: Ledger) -> None:
    user_id = await new_user(ledger)
    await _acts(ledger)
    with pytest.raises(psycopg.errors.CheckViolation):
        await update_user(ledger, user_id, full_name="x" * 201, actor="me")
    assert await _acts(ledger) == []


async def test_an_actor_is_that_of_one_transaction(ledger: Ledger) -> None:
    """Taken out: the `true` (of this transaction) in Database.act."""
    user_id = await new_user(ledger)
    await _acts(ledger)
    async with ledger.database.act("me") as connection:
        pid = connection.info.backend_pid
        await connection.execute("UPDATE users SET is_admin = true")
    async with ledger.database.write() as connection:
        assert connection.info.backend_pid == pid
        await connection.execute("UPDATE users SET is_admin = false")
    mine, theirs = await _acts(ledger)
    assert (mine.actor, mine.user_id, theirs.actor.partition(":")[0]) == ("me", user_id, "role")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET details = '{}'",
        "UPDATE audit_log SET actor = 'x'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
def test_the_audit_log_is_for_ever(ledger_address: Address, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        ask(ledger_address, statement)
    assert refused.value.sqlstate == HISTORY


async def test_acts_are_listed_page_by_page_and_by_what_is_asked_for(ledger: Ledger) -> None:
    one, two = await new_user(ledger), await new_user(ledger)
    for user_id in (one, two, one):
        await update_user(ledger, user_id, full_name=f"Name {user_id}", actor=f"token:{user_id}")
        await update_user(ledger, user_id, full_name="", actor="cli")

    async def listed(**asked: Any) -> list[tuple[str, str, int | None]]:
        return _told(await list_acts(ledger, **asked))

    assert await listed(user_id=two) == [
        ("cli", "user_changed", two),
        (f"token:{two}", "user_changed", two),
        *(await listed(user_id=two, act="user_created")),
    ]
    assert len(await listed(act="user_created")) == 2
    assert len(await listed(actor="cli")) == 3
    everything = await list_acts(ledger, limit=500)
    paged: list[AuditRow] = []
    while page := await list_acts(ledger, limit=4, before=paged[-1].id if paged else None):
        paged += page
    assert paged == everything
