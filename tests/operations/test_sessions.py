"""Sessions of the dashboard: how they begin, how long they last, and what they may.

Taken out to see tests here fail: the idle limit in `sessions/find.sql`, `used_at IS NULL` and `expires_at > now()` in
`sessions/use_link.sql`, `is_admin` in `sessions/make_link.sql`, the check of the scope in `sign_in_by_token`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from groat_server.core.scopes import Scope
from groat_server.errors import Forbidden, NotFound, Unauthorized
from groat_server.operations.audit import list_acts
from groat_server.operations.sessions import (
    end_session,
    find_session,
    first_admin,
    list_sessions,
    make_login_link,
    sign_in_by_link,
    sign_in_by_token,
)
from groat_server.operations.tokens import create_token, revoke_token
from groat_server.operations.users import anonymise_user, create_user, update_user
from tests.operations.ledgers import ask, new_user

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio


async def admin(ledger: Ledger, email: str = "admin@example.com") -> int:
    return (await create_user(ledger, email, is_admin=True)).id


async def signed_in(ledger: Ledger, user_id: int) -> str:
    token = await create_token(ledger, name="t", user_id=user_id)
    return await sign_in_by_token(ledger, token.token, user_agent="tests")


async def is_signed_in(ledger: Ledger, session: str) -> bool:
    try:
        await find_session(ledger, session)
    except Unauthorized:
        return False
    return True


async def test_a_link_signs_its_user_in_once(ledger: Ledger) -> None:
    user_id = await admin(ledger)
    link = await make_login_link(ledger, user_id, actor="cli:tests")
    session = await find_session(ledger, await sign_in_by_link(ledger, link, user_agent="tests"))
    assert (session.name, session.caller.user_id, session.caller.actor) == (
        "admin@example.com",
        user_id,
        f"user:{user_id}",
    )
    with pytest.raises(Unauthorized, match="used before"):
        await sign_in_by_link(ledger, link, user_agent="tests")


async def test_of_many_who_use_a_link_at_once_one_is_signed_in(ledger: Ledger) -> None:
    link = await make_login_link(ledger, await admin(ledger))
    tries = [sign_in_by_link(ledger, link, user_agent=f"{number}") for number in range(8)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(answer, str) for answer in answers) == 1


async def test_a_link_works_a_quarter_of_an_hour(ledger: Ledger, ledger_address: Address) -> None:
    link = await make_login_link(ledger, await admin(ledger))
    ((minutes,),) = ask(ledger_address, "SELECT round(extract(epoch FROM expires_at - now()) / 60) FROM login_links")
    assert minutes == 15
    ask(ledger_address, "UPDATE login_links SET expires_at = now()")
    with pytest.raises(Unauthorized):
        await sign_in_by_link(ledger, link, user_agent="tests")


async def test_a_link_is_an_administrators(ledger: Ledger) -> None:
    with pytest.raises(Forbidden):
        await make_login_link(ledger, await new_user(ledger))
    with pytest.raises(Forbidden):
        await make_login_link(ledger, 999_999)
    with pytest.raises(Unauthorized):
        await sign_in_by_link(ledger, "nonsense", user_agent="tests")


async def test_a_token_signs_in_with_its_rights(ledger: Ledger) -> None:
    scopes = frozenset({Scope.REPORTS_READ, Scope.GRANTS_WRITE})
    made = await create_token(ledger, name="support", scopes=scopes)
    session = await find_session(ledger, await sign_in_by_token(ledger, made.token, user_agent="tests"))
    assert session.name == "support"
    assert session.caller.user_id is None
    assert session.caller.scopes == scopes
    assert session.caller.actor == f"token:{made.row.id}"
    assert not session.caller.may(Scope.ADMIN)


async def test_who_may_not_read_reports_gets_no_session(ledger: Ledger) -> None:
    regular = await create_token(ledger, name="t", user_id=await new_user(ledger))
    writer = await create_token(ledger, name="t", scopes=set(Scope) - {Scope.REPORTS_READ, Scope.ADMIN})
    for made in (regular, writer):
        with pytest.raises(Forbidden):
            await sign_in_by_token(ledger, made.token, user_agent="tests")
    with pytest.raises(Unauthorized):
        await sign_in_by_token(ledger, "groat_nonsense", user_agent="tests")
    assert await list_sessions(ledger) == []


@pytest.mark.parametrize(
    ("change", "lasts"),
    [
        ("last_seen_at = now() - interval '29 minutes'", True),
        ("last_seen_at = now() - interval '30 minutes'", False),
        ("expires_at = now()", False),
        ("ended_at = now()", False),
    ],
)
async def test_how_long_a_session_lasts(ledger: Ledger, ledger_address: Address, change: str, lasts: bool) -> None:  # noqa: FBT001 - a table
    session = await signed_in(ledger, await admin(ledger))
    ask(ledger_address, f"UPDATE dashboard_sessions SET {change}")  # noqa: S608 - texts of this test
    assert await is_signed_in(ledger, session) is lasts
    assert len(await list_sessions(ledger)) == lasts


async def test_a_session_lasts_half_a_day_however_it_is_used(ledger: Ledger, ledger_address: Address) -> None:
    await signed_in(ledger, await admin(ledger))
    ((hours,),) = ask(
        ledger_address, "SELECT round(extract(epoch FROM expires_at - now()) / 3600) FROM dashboard_sessions"
    )
    assert hours == 12


async def test_that_a_session_is_in_use_is_noted_and_is_no_act(ledger: Ledger, ledger_address: Address) -> None:
    session = await signed_in(ledger, await admin(ledger))
    seen = "SELECT last_seen_at > now() - interval '1 minute' FROM dashboard_sessions"
    acts = await list_acts(ledger)
    ask(ledger_address, "UPDATE dashboard_sessions SET last_seen_at = now() - interval '5 minutes'")
    assert ask(ledger_address, seen) == [(False,)]
    await find_session(ledger, session)
    assert ask(ledger_address, seen) == [(True,)]
    assert await list_acts(ledger) == acts


async def test_a_session_has_the_rights_of_the_moment(ledger: Ledger) -> None:
    user_id = await admin(ledger)
    await admin(ledger, "another@example.com")
    session = await signed_in(ledger, user_id)
    for is_admin in (True, False, True):
        await update_user(ledger, user_id, is_admin=is_admin)
        assert (await find_session(ledger, session)).caller.may(Scope.REPORTS_READ) is is_admin


async def test_a_session_ends_with_its_token_and_with_its_user(ledger: Ledger) -> None:
    await admin(ledger)
    user_id = await admin(ledger, "another@example.com")
    made = await create_token(ledger, name="t", user_id=user_id)
    by_token = await sign_in_by_token(ledger, made.token, user_agent="tests")
    by_link = await sign_in_by_link(ledger, await make_login_link(ledger, user_id), user_agent="tests")
    await revoke_token(ledger, made.row.id)
    assert [await is_signed_in(ledger, session) for session in (by_token, by_link)] == [False, True]
    await anonymise_user(ledger, user_id, actor="tests")
    assert not await is_signed_in(ledger, by_link)


async def test_a_session_is_ended_by_whom_it_may(ledger: Ledger) -> None:
    user_id, other_id = await admin(ledger), await admin(ledger, "another@example.com")
    session = await signed_in(ledger, user_id)
    found = await find_session(ledger, session)
    with pytest.raises(NotFound):
        await end_session(ledger, found.id, user_id=other_id)
    with pytest.raises(NotFound):
        await end_session(ledger, 999_999)
    assert await is_signed_in(ledger, session)
    await end_session(ledger, found.id, user_id=user_id, actor=f"user:{user_id}")
    assert not await is_signed_in(ledger, session)
    acts = [(act.act, act.actor) for act in await list_acts(ledger, user_id=user_id)]
    assert acts[0] == ("session_ended", f"user:{user_id}")
    assert any(act == "session_begun" for act, _ in acts)


async def test_the_list_says_who_is_signed_in_and_no_secret(ledger: Ledger, ledger_address: Address) -> None:
    session = await signed_in(ledger, await admin(ledger))
    made = await create_token(ledger, name="support", scopes=[Scope.REPORTS_READ])
    await sign_in_by_token(ledger, made.token, user_agent="x" * 1000)
    service, person = await list_sessions(ledger)
    assert (person.email, service.email, service.token_name) == ("admin@example.com", None, "support")
    assert service.user_agent == "x" * 200
    ((stored,),) = ask(ledger_address, "SELECT json_agg(s)::text FROM dashboard_sessions AS s")
    assert session not in str(stored)


async def test_the_first_administrator_is_who_was_there_first(ledger: Ledger) -> None:
    assert await first_admin(ledger) is None
    await new_user(ledger)
    first = await admin(ledger)
    await admin(ledger, "another@example.com")
    assert await first_admin(ledger) == first
