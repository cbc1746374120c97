"""Many at once: what is there is given out once, whoever asks and however often."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from groat_server.core.outcomes import OperationOutcome, Outcome
from groat_server.operations.grants import Grant, grant_credits
from groat_server.operations.holds import NewHold, Placement, place_hold
from groat_server.operations.periods import sweep
from groat_server.operations.reports import run_report
from groat_server.operations.shared_settings import change_settings
from groat_server.operations.usage import charge
from tests.operations.ledgers import ask, new_user, outcomes, use

if TYPE_CHECKING:
    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

HOLDS = """
import asyncio, json, sys
from decimal import Decimal
from groat_server.database import Address
from groat_server.operations.holds import NewHold, place_hold
from groat_server.operations.ledger import open_ledger

async def main(url, user_id, name, count):
    async with open_ledger(Address(url), provider_durability=True) as ledger:
        print("ready", flush=True)
        sys.stdin.readline()
        holds = [NewHold(user_id=int(user_id), idempotency_key=f"{name}-{n}", seconds=600, amount=Decimal(1))
                 for n in range(int(count))]
        placed = await asyncio.gather(*(place_hold(ledger, hold) for hold in holds))
        print(json.dumps([placement.outcome for placement in placed]), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def hold_of_one(user_id: int, key: str) -> NewHold:
    return NewHold(user_id=user_id, idempotency_key=key, seconds=600, amount=Decimal(1))


async def test_of_200_parallel_holds_on_ten_credits_ten_succeed(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: FOR NO KEY UPDATE in settle_account_at: more than ten are placed."""
    user = await new_user(ledger, 10)
    placed = await asyncio.gather(*(place_hold(ledger, hold_of_one(user, f"hold-{n}")) for n in range(200)))
    found = Counter(placement.outcome for placement in placed if isinstance(placement, Placement))
    assert found == {OperationOutcome.HELD: 10, OperationOutcome.INSUFFICIENT_CREDITS: 190}
    assert ask(ledger_address, "SELECT count(*), sum(amount) FROM credit_holds WHERE state = 'open'") == [(10, 10)]


async def test_of_200_parallel_holds_by_four_processes_ten_succeed(ledger: Ledger, ledger_address: Address) -> None:
    user = await new_user(ledger, 10)
    command = [sys.executable, "-c", HOLDS, ledger_address.url, str(user)]
    processes = [
        subprocess.Popen([*command, str(name), "50"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        for name in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    found: Counter[str] = Counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, _ = process.communicate(timeout=60)
        found.update(json.loads(output))
    assert found == {"held": 10, "insufficient_credits": 190}


async def test_one_key_fifty_times_in_parallel_has_one_effect_and_one_answer(
    ledger: Ledger, ledger_address: Address
) -> None:
    user = await new_user(ledger)
    receipts = [
        receipt for (receipt,) in await asyncio.gather(*(charge(ledger, [use(user, "key", 7)]) for _ in range(50)))
    ]
    assert Counter(outcomes(receipts)) == {Outcome.RECORDED: 1, Outcome.REPLAYED: 49}
    assert len({receipt.booking for receipt in receipts}) == 1
    assert outcomes(await charge(ledger, [use(user, "key", 8)])) == [Outcome.IDEMPOTENCY_CONFLICT]
    assert ask(ledger_address, "SELECT count(*), sum(credits_charged) FROM credit_usage_events") == [(1, 7)]


async def test_a_key_of_a_grant_never_makes_a_free_charge(ledger: Ledger, ledger_address: Address) -> None:
    """Taken out: the look at credit_operations in charge_batch."""
    user = await new_user(ledger)
    grant = Grant(user_id=user, key="key", kind="purchase", amount=Decimal(5), actor="token:1")
    answers = await asyncio.gather(*(grant_credits(ledger, grant) for _ in range(50)))
    assert Counter(answer.replayed for answer in answers) == {False: 1, True: 49}
    assert len({(answer.lot_id, answer.balance, answer.version) for answer in answers}) == 1
    assert outcomes(await charge(ledger, [use(user, "key", 5)])) == [Outcome.IDEMPOTENCY_CONFLICT]
    await charge(ledger, [use(user, "charge", 5)])
    refused = await grant_credits(
        ledger, Grant(user_id=user, key="charge", kind="purchase", amount=Decimal(5), actor="a")
    )
    assert refused.outcome == OperationOutcome.IDEMPOTENCY_CONFLICT
    assert ask(ledger_address, "SELECT current_balance FROM user_credit_balances") == [(100,)]


async def test_an_expiry_takes_from_its_lot_alone_while_charges_run(ledger: Ledger, ledger_address: Address) -> None:
    """Each lot is worth its grant, less what was drawn on it, less what expired of it; the auditor recounts it."""
    user = await new_user(ledger)
    ending = datetime.now(UTC) + timedelta(seconds=1.5)
    for key, expires_at in (("ending", ending), ("lasting", None)):
        grant = Grant(
            user_id=user,
            key=key,
            kind="promotion",
            amount=Decimal(100_000),
            priority=5,
            expires_at=expires_at,
            actor="a",
        )
        await grant_credits(ledger, grant)

    async def charge_on(worker: int) -> int:
        count = 0
        while datetime.now(UTC) < ending + timedelta(seconds=0.5):
            await charge(ledger, [use(user, f"{worker}-{count}", 1)])
            count += 1
        return count

    async def sweep_on() -> None:
        while True:
            await sweep(ledger)

    sweeping = asyncio.create_task(sweep_on())
    charged = sum(await asyncio.gather(*(charge_on(worker) for worker in range(4))))
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    ((expired,),) = ask(ledger_address, "SELECT -amount FROM credit_ledger_entries WHERE kind = 'expiry'")
    before = "SELECT coalesce(sum(credits_charged), 0) FROM credit_usage_events WHERE recorded_at < %s"
    after = "SELECT coalesce(sum(credits_charged), 0) FROM credit_usage_events WHERE recorded_at >= %s"
    ((used_before,),), ((used_after,),) = ask(ledger_address, before, [ending]), ask(ledger_address, after, [ending])
    assert used_before + used_after == charged
    assert min(used_before, used_after) > 0
    assert expired == 100_000 - used_before
    assert ask(ledger_address, "SELECT current_balance FROM user_credit_balances") == [(100_100 - used_after,)]


async def test_a_threshold_crossed_by_twenty_parallel_charges_makes_one_alert(
    ledger: Ledger, ledger_address: Address
) -> None:
    """Armed anew by credits that lift the balance above it."""
    async with ledger.database.write() as connection:
        await change_settings(connection, alert_below=[Decimal(20), Decimal(0)])
    user = await new_user(ledger, 30)
    await asyncio.gather(*(charge(ledger, [use(user, f"a-{n}", 1)]) for n in range(20)))
    alerts = "SELECT threshold, balance_before, balance_after FROM credit_alerts ORDER BY id"
    assert ask(ledger_address, alerts) == [(20, 21, 20)]
    await charge(ledger, [use(user, "below", 1)])
    assert ask(ledger_address, alerts) == [(20, 21, 20)]
    await grant_credits(ledger, Grant(user_id=user, key="top-up", kind="purchase", amount=Decimal(50), actor="a"))
    await charge(ledger, [use(user, f"b-{n}", 6) for n in range(10)])
    assert ask(ledger_address, alerts) == [(20, 21, 20), (20, 23, 17), (0, 5, -1)]
    listed = await run_report(ledger, "alerts")
    assert [(alert.threshold, alert.balance_after) for alert in listed] == [(0, -1), (20, 17), (20, 20)]
