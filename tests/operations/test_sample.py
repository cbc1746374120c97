"""Sample data: lived-in, the same each time, made once, and charged like any real use."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from groat_server.core.sample_plan import FIRST_KEY, LAST_KEY, MAIN_EMAIL, WINDOW, sample_people, sample_usages
from groat_server.database import Address
from groat_server.errors import GroatError, NotFound
from groat_server.migrations import migrate
from groat_server.operations.ledger import open_ledger
from groat_server.operations.sample import SampleReport, load_sample, trickle
from groat_server.operations.users import create_user, list_users
from tests.operations.ledgers import ask

if TYPE_CHECKING:
    from collections.abc import Callable

    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

NOWS = [datetime(2026, 3, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2028, 2, 29, tzinfo=UTC)]


async def events(address: Address, count: int) -> None:
    """Wait until the ledger has so many events."""
    while ask(address, "SELECT count(*) FROM credit_usage_events")[0][0] < count:  # noqa: ASYNC110 - nobody else knows
        await asyncio.sleep(0.01)


def test_the_plan_is_the_same_for_the_same_present() -> None:
    for now in NOWS:
        ids = {person.email: number for number, person in enumerate(sample_people(now), 1) if not person.demo_mode}
        usages = sample_usages(now, ids)
        assert usages == sample_usages(now, ids)
        times = [usage.occurred_at for usage in usages if usage.occurred_at is not None]
        assert times == sorted(times)
        assert now - WINDOW < times[0] < times[-1] < now
        assert (usages[0].idempotency_key, usages[-1].idempotency_key) == (FIRST_KEY, LAST_KEY)
        assert 12_400 <= len({usage.idempotency_key for usage in usages}) == len(usages) <= 12_600
        created = {ids[person.email]: person.created_at for person in sample_people(now) if person.email in ids}
        assert all(created[usage.user_id or 0] < (usage.occurred_at or now) for usage in usages)


async def test_the_sample_data_look_lived_in(ledger: Ledger, ledger_address: Address) -> None:
    report = await load_sample(ledger)
    assert (report.already_there, report.users) == (False, 50)
    assert await load_sample(ledger) == SampleReport(already_there=True)

    def counted(query: str) -> Any:
        return ask(ledger_address, query)[0][0]

    assert counted("SELECT count(*) FROM credit_usage_events") == report.events
    assert counted("SELECT full_name FROM users WHERE email = 'user@example.com'") == "John Doe"
    assert counted("SELECT is_admin FROM users WHERE email = 'admin@example.com'")
    assert counted("SELECT count(*) FROM users WHERE demo_mode") == 4
    assert counted("SELECT count(DISTINCT action_type) FROM credit_usage_events") == 7
    assert counted("SELECT count(DISTINCT date(created_at)) FROM credit_usage_events") >= 90
    assert counted("SELECT count(*) FROM credit_usage_events WHERE created_at > now() - interval '1 hour'") >= 20
    assert 10 <= counted("SELECT count(*) FROM credit_usage_events WHERE credits_charged > 1") <= 100
    assert counted("SELECT count(*) FROM user_credit_balances WHERE current_balance < 0") == 1
    assert counted("SELECT count(*) FROM user_credit_balances WHERE current_balance > monthly_allowance") == 0
    assert counted("SELECT count(DISTINCT period_start) FROM user_credit_balances") > 40
    assert counted("SELECT count(*) FROM credit_ledger_entries WHERE kind = 'allowance'") > 150
    assert counted("SELECT count(*) FROM user_credit_balances WHERE last_event_at < now() - interval '45 days'") == 1
    assert counted("SELECT count(*) FROM credit_usage_events WHERE cache_read_tokens > 0") > 1000
    assert counted("SELECT count(*) FROM credit_usage_events WHERE reasoning_tokens > 0") > 100
    assert counted("SELECT count(*) FROM credit_usage_events WHERE recorded_at < created_at") == 0
    assert counted("SELECT count(*) FROM credit_usage_events WHERE model_used = 'claude-3-5-sonnet'") > 1000


async def test_a_load_that_broke_off_is_completed_as_if_it_had_not(ledger: Ledger, ledger_address: Address) -> None:
    now = datetime.now(UTC) - timedelta(hours=1)
    loading = asyncio.create_task(load_sample(ledger, now=now))
    await events(ledger_address, 1000)
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)
    assert ask(ledger_address, "SELECT count(*) > 12000 FROM credit_usage_events") == [(False,)]
    report = await load_sample(ledger)
    assert not report.already_there
    ids = {user.email: user.id for user in await list_users(ledger) if not user.demo_mode}
    planned = {(usage.user_id, usage.idempotency_key, usage.occurred_at) for usage in sample_usages(now, ids)}
    stored = ask(ledger_address, "SELECT user_id, idempotency_key, created_at FROM credit_usage_events")
    assert set(stored) == planned
    assert len(stored) == len(planned) == report.events


async def test_a_user_of_the_main_address_is_left_alone(ledger: Ledger, ledger_address: Address) -> None:
    await create_user(ledger, MAIN_EMAIL)
    assert (await load_sample(ledger)).already_there
    assert ask(ledger_address, "SELECT count(*) FROM users") == [(1,)]


async def test_without_prices_the_sample_data_are_refused(empty_database: Callable[[], str]) -> None:
    url = empty_database()
    await asyncio.to_thread(migrate, url)
    async with open_ledger(Address(url), provider_durability=True) as ledger:
        with pytest.raises(GroatError, match="No price is known"):
            await load_sample(ledger)


async def test_the_trickle_adds_what_the_sample_users_do_now(ledger: Ledger, ledger_address: Address) -> None:
    with pytest.raises(NotFound, match="no sample"):
        await trickle(ledger, interval=0)
    people = [person for person in sample_people(datetime.now(UTC)) if not person.demo_mode][:5]
    for person in people:
        await create_user(ledger, person.email)
    running = asyncio.create_task(trickle(ledger, interval=0.001))
    await events(ledger_address, 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert ask(
        ledger_address,
        "SELECT count(*) FROM credit_usage_events"
        " WHERE created_at <> recorded_at OR NOT starts_with(idempotency_key, 'sample-live-')",
    ) == [(0,)]
