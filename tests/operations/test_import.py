"""Imports: each row once, however often and however far a file is imported; bad rows set aside."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices import Usage as PricedUsage
from genai_prices import calc_price

from groat_server.core.import_rows import Claimed
from groat_server.errors import Conflict, GroatError, NotFound, Unprocessable
from groat_server.operations.imports import ImportProgress, import_file
from groat_server.operations.prices import set_price
from groat_server.operations.rejects import Reject, RejectsFile
from groat_server.operations.usage import BATCH_MAX, charge, charge_on, price_ahead
from groat_server.sql import Statement
from tests.operations.ledgers import ask, new_user, use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

REAL_LOG = Path(__file__).parents[3] / "shared" / "data" / "usage-conversation.csv"
COLUMNS = ("occurred_at", "email", "action_type", "quantity", "idempotency_key")
START = datetime.now(UTC).replace(microsecond=250) - timedelta(days=3)
EVENTS = "SELECT count(*), coalesce(sum(credits_charged), 0) FROM credit_usage_events"

IMPORT = """
import asyncio, sys
from pathlib import Path
from groat_server.database import Address
from groat_server.operations.imports import import_file
from groat_server.operations.ledger import open_ledger

async def main(url, path):
    async with open_ledger(Address(url), provider_durability=True) as ledger:
        await import_file(ledger, Path(path), until_now=True, create_users=True,
            progress=lambda progress: print(progress.stage, progress.rows_done, flush=True))

asyncio.run(main(*sys.argv[1:]))
"""
PEAK = "\nimport resource; print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"


def line(number: int, **changes: str) -> dict[str, str]:
    """Make row `number` of a log: of one of seven users, a second after the one before, of `number` % 10 credits."""
    return {
        "occurred_at": (START + timedelta(seconds=number)).isoformat(),
        "email": f"user-{number % 7}@example.com",
        "action_type": "unit",
        "quantity": str(number % 10),
        "idempotency_key": f"key-{number}",
    } | changes


def write_csv(path: Path, lines: Iterable[dict[str, str]], columns: Sequence[str] = COLUMNS) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    return path


def rejects_of(path: Path) -> list[tuple[int, str, str]]:
    """Return line, reason and raw text of each rejected row of the log at `path`."""
    with path.with_name(path.name + ".rejects.csv").open(encoding="utf-8", newline="") as stream:
        return [(int(each["line"]), each["reason"], each["raw"]) for each in csv.DictReader(stream)]


def rejected(path: Path) -> list[tuple[int, str]]:
    return [(number, reason) for number, reason, _ in rejects_of(path)]


def has_rejects(path: Path) -> bool:
    return path.with_name(path.name + ".rejects.csv").exists()


async def test_every_row_of_a_csv_is_charged_in_its_order(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    count = 2 * BATCH_MAX + 345
    path = write_csv(tmp_path / "log.csv", map(line, range(count)))
    told: list[ImportProgress] = []
    report = await import_file(ledger, path, create_users=True, progress=told.append)
    assert (report.rows, report.recorded, report.replayed, report.rejected) == (count, count, 0, 0)
    assert report.credits == sum(number % 10 for number in range(count))
    assert (report.shift, report.resumed_at_line, report.already_finished) == (timedelta(0), None, False)
    assert [(each.stage, each.rows_done, each.rows_total) for each in told] == [
        ("charging", rows, count) for rows in (BATCH_MAX, 2 * BATCH_MAX, count)
    ]
    for number in range(7):
        keys = ask(
            ledger_address,
            "SELECT idempotency_key, event.created_at FROM credit_usage_events AS event"
            " JOIN users ON users.id = user_id WHERE email = %s ORDER BY version",
            [f"user-{number}@example.com"],
        )
        assert keys == [(f"key-{each}", START + timedelta(seconds=each)) for each in range(number, count, 7)]
    assert not has_rejects(path)
    assert ask(ledger_address, "SELECT next_line, recorded, finished_at IS NULL FROM import_jobs") == [
        (count + 2, count, False)
    ]


async def test_json_lines_carry_every_field(ledger: Ledger, ledger_address: Address, tmp_path: Path) -> None:
    user_id = await new_user(ledger)
    at = datetime.now(UTC) - timedelta(days=60)
    fields = {
        "occurred_at": at.isoformat(), "user": user_id, "action_type": "chat", "model": "lamp",
        "input_tokens": 1_000_000, "output_tokens": 500_000, "cache_read_tokens": 10, "cache_write_tokens": 20,
        "reasoning_tokens": 30, "description": "two\nlines", "session_id": "s",
        "metadata": {"tags": ["a"], "score": 0.10},
    }  # fmt: skip
    stated = {
        "occurred_at": at.isoformat(),
        "user": user_id,
        "action_type": "own",
        "api_cost": 0.0000005,
        "model": None,
    }
    path = tmp_path / "log.jsonl"
    path.write_text(f"{json.dumps(fields)}\n\n{json.dumps(stated)}\n", "utf-8")
    report = await import_file(ledger, path)
    assert (report.rows, report.recorded, report.rejected) == (2, 2, 0)
    assert (report.credits, report.api_cost) == (Decimal("20.000005"), Decimal("2.0000005"))
    found = ask(
        ledger_address,
        "SELECT input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, description,"
        " session_id, metadata::text, created_at, api_cost, cost_source FROM credit_usage_events ORDER BY id",
    )
    assert found[0] == (
        1_000_000, 500_000, 10, 20, 30, "two\nlines", "s", '{"tags": ["a"], "score": 0.1}', at, 2, "model"
    )  # fmt: skip
    assert found[1][-2:] == (Decimal("0.0000005"), "caller")


async def test_each_bad_row_is_set_aside_with_its_line_and_reason(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    await new_user(ledger)
    ((email,),) = ask(ledger_address, "SELECT email FROM users")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    rows = [
        line(0, email=email, quantity="1"),
        line(1, email="nobody@example.com"),
        line(2, email=email, action_type="chat", model="no-such-model"),
        line(3, email=email, occurred_at=soon),
        line(4, email=email, description="three\nphysical\nlines"),
        line(5, email=email, occurred_at="2026-01-31T12:00:00"),
        line(6, email=email, idempotency_key="key-0"),
        line(7, email=email, action_type="chat"),
        line(8, email=email, input_tokens="1", cache_read_tokens="2"),
        line(0, email=email, quantity="1"),
    ]
    columns = (*COLUMNS, "model", "description", "input_tokens", "cache_read_tokens")
    path = write_csv(tmp_path / "log.csv", rows, columns)
    path.write_bytes(path.read_bytes() + b"short\n\xff\n")
    report = await import_file(ledger, path)
    reasons = [(number, reason.partition(":")[0]) for number, reason in rejected(path)]
    assert reasons == [
        (3, "unknown_user"), (4, "unknown_model"), (5, "occurred_in_future"), (9, "invalid"),
        (10, "idempotency_conflict"), (11, "unpriced_action"), (12, "invalid"), (14, "invalid"), (15, "invalid"),
    ]  # fmt: skip
    assert (report.rows, report.recorded, report.replayed, report.rejected) == (12, 2, 1, 9)
    assert report.rejects == f"{path}.rejects.csv"
    raw = [text for _, _, text in rejects_of(path)]
    assert raw[-2:] == ["short", "\\xff"]
    assert raw[0] == path.read_text("utf-8", "replace").splitlines()[2]


async def test_unknown_addresses_become_users_only_when_asked(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "log.csv", [line(1), line(2, email=" USER-1@example.com")])
    first = await import_file(ledger, path)
    assert (first.recorded, first.rejected) == (0, 2)
    assert ask(ledger_address, "SELECT count(*) FROM users") == [(0,)]
    second = await import_file(ledger, path, create_users=True)
    assert (second.recorded, second.rejected) == (2, 0)
    assert ask(ledger_address, "SELECT email FROM users") == [("user-1@example.com",)]
    assert not has_rejects(path)  # they were of the run that this one replaces


async def test_users_in_demo_mode_stay_untracked(ledger: Ledger, ledger_address: Address, tmp_path: Path) -> None:
    await new_user(ledger, demo_mode=True)
    ((email,),) = ask(ledger_address, "SELECT email FROM users")
    report = await import_file(ledger, write_csv(tmp_path / "log.csv", [line(1, email=email)]))
    assert (report.recorded, report.untracked, report.rejected) == (0, 1, 0)


async def test_a_second_import_changes_nothing_and_says_so(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "log.csv", [*map(line, range(30)), line(31, quantity="x")])
    await import_file(ledger, path, until_now=True, create_users=True)
    before = (ask(ledger_address, EVENTS), ask(ledger_address, "SELECT * FROM import_jobs"), rejected(path))
    again = await import_file(ledger, path, until_now=True, create_users=True)
    assert (again.already_finished, again.recorded, again.replayed, again.rejected) == (True, 0, 0, 0)
    assert (ask(ledger_address, EVENTS), ask(ledger_address, "SELECT * FROM import_jobs"), rejected(path)) == before


async def test_rows_without_keys_are_charged_once_too(ledger: Ledger, ledger_address: Address, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", [line(1), line(1), line(2)], COLUMNS[:-1])
    await import_file(ledger, path, create_users=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    keys = ask(ledger_address, "SELECT idempotency_key FROM credit_usage_events ORDER BY id")
    assert keys == [(f"import-{digest}-{number}",) for number in (2, 3, 4)]


async def test_a_settled_history_is_reported_in_full_and_moves_no_balance(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    """Taken out: the adjustment of settle_charges; the allocation of what was charged before, in charge_batch."""
    user = await new_user(ledger)
    ((email,),) = ask(ledger_address, "SELECT email FROM users")
    await charge(ledger, [use(user, "before", 30)])
    history = [line(number, email=email) for number in range(2 * BATCH_MAX)]
    report = await import_file(ledger, write_csv(tmp_path / "log.csv", history), settled=True)
    assert (report.recorded, report.credits) == (2 * BATCH_MAX, Decimal(9 * BATCH_MAX))
    balances = "SELECT current_balance, total_consumed, current_month_consumed FROM user_credit_balances"
    assert ask(ledger_address, balances) == [(70, 30 + report.credits, 30 + report.credits)]
    adjustments = "SELECT count(*), sum(amount) FROM credit_ledger_entries WHERE kind = 'adjustment'"
    assert ask(ledger_address, adjustments) == [(2, report.credits)]
    allowance = "SELECT remaining FROM credit_lots WHERE kind = 'allowance'"
    assert ask(ledger_address, allowance) == [(70,)]


async def test_until_now_moves_the_last_event_to_now_and_keeps_the_distances(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    before = datetime.now(UTC)
    rows = [line(3), line(900), line(4), line(2000, quantity="bad")]  # a bad row does not count
    report = await import_file(ledger, write_csv(tmp_path / "log.csv", rows), until_now=True, create_users=True)
    times = [at for (at,) in ask(ledger_address, "SELECT created_at FROM credit_usage_events ORDER BY id")]
    assert before <= times[1] <= datetime.now(UTC)
    assert report.shift == times[1] - (START + timedelta(seconds=900))
    assert [times[1] - at for at in times] == [timedelta(seconds=897), timedelta(0), timedelta(seconds=896)]


async def test_the_same_file_with_other_options_keeps_its_shift(
    ledger: Ledger, ledger_address: Address, tmp_path: Path
) -> None:
    await new_user(ledger)
    ((email,),) = ask(ledger_address, "SELECT email FROM users")
    path = write_csv(tmp_path / "log.csv", [line(1, email=email), line(2)])
    first = await import_file(ledger, path, until_now=True)
    assert (first.recorded, first.rejected) == (1, 1)
    second = await import_file(ledger, path, until_now=True, create_users=True)
    assert (second.recorded, second.replayed, second.rejected, second.shift) == (1, 1, 0, first.shift)


@pytest.mark.parametrize("rows_before_the_kill", [1 * BATCH_MAX, 4 * BATCH_MAX])
async def test_a_killed_import_goes_on_where_it_was(
    ledger: Ledger, ledger_address: Address, tmp_path: Path, rows_before_the_kill: int
) -> None:
    count = 8 * BATCH_MAX
    rows = [line(number, **({"quantity": "bad"} if number % 400 == 7 else {})) for number in range(count)]
    path = write_csv(tmp_path / "log.csv", rows)
    await asyncio.to_thread(kill_import, ledger_address, path, rows_before_the_kill)
    ((shift, next_line, finished_at),) = ask(ledger_address, "SELECT shift, next_line, finished_at FROM import_jobs")
    assert finished_at is None
    report = await import_file(ledger, path, until_now=True, create_users=True)
    assert report.resumed_at_line == (next_line or None)
    assert report.shift == shift
    assert report.replayed <= 2 * BATCH_MAX
    good = [number for number in range(count) if number % 400 != 7]
    assert ask(ledger_address, EVENTS) == [(len(good), sum(number % 10 for number in good))]
    assert [number - 2 for number, _ in rejected(path)] == list(range(7, count, 400))
    stored = ask(ledger_address, "SELECT idempotency_key, created_at FROM credit_usage_events")
    assert sorted(stored) == sorted((f"key-{number}", START + timedelta(seconds=number) + shift) for number in good)


def kill_import(address: Address, path: Path, rows: int) -> None:
    """Import in a process of its own, and kill that one as soon as it has charged so many rows."""
    command = [sys.executable, "-c", IMPORT, address.url, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for told in process.stdout:
            stage, done = told.split()
            if stage == "charging" and int(done) >= rows:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.wait(timeout=30)
    assert process.returncode == -signal.SIGKILL


async def test_what_was_priced_ahead_is_priced_anew_if_the_book_has_changed(ledger: Ledger) -> None:
    """Taken out: the pricing by the newer book; the call then gave up."""
    user = await new_user(ledger)
    usages = [use(user, f"key-{number}", 2, occurred_at=START) for number in range(3)]
    async with ledger.database.write() as connection:
        ahead = await price_ahead(ledger, connection, usages)
        ever = datetime(2000, 1, 1, tzinfo=UTC)
        await set_price(connection, kind="action", name="unit", rates={"credits_per_unit": 3}, valid_from=ever)
        receipts = await charge_on(ledger, connection, usages, ahead=ahead)
    assert [receipt.charge and receipt.charge.credits_charged for receipt in receipts] == [6, 6, 6]


async def test_memory_does_not_grow_with_the_file(ledger_address: Address, tmp_path: Path) -> None:
    """Taken out: the bound on the rows of a batch; the larger import then took 150 MB more."""
    small, large = [
        await asyncio.to_thread(
            peak_of_import, ledger_address, write_csv(tmp_path / f"{count}.csv", map(line, range(count)))
        )
        for count in (10_000, 110_000)
    ]
    assert large - small < 16 * 2**20


def peak_of_import(address: Address, path: Path) -> int:
    """Import in a process of its own; return the most memory that it had, in bytes."""
    command = [sys.executable, "-c", IMPORT + PEAK, address.url, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.rpartition("peak ")[2])


async def test_a_file_that_is_being_imported_cannot_be_imported_twice(ledger: Ledger, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv", [line(1)])
    claim = Statement("imports/claim", Claimed)
    async with ledger.database.write() as other:
        assert (await claim.one(other, digest=hashlib.sha256(path.read_bytes()).digest())).claimed
        with pytest.raises(Conflict, match="another process") as refusal:
            await import_file(ledger, path, create_users=True)
        await other.execute("SELECT pg_advisory_unlock_all()")
    assert refusal.value.problem_code == "import_running"
    assert (await import_file(ledger, path, create_users=True)).recorded == 1


async def test_a_file_as_a_whole_that_cannot_be_imported_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        await import_file(ledger, tmp_path / "none.csv")
    with pytest.raises(Unprocessable, match="colour"):
        await import_file(ledger, write_csv(tmp_path / "odd.csv", [], (*COLUMNS, "colour")))
    with pytest.raises(Unprocessable, match="quantity"):  # it shows the columns there are
        await import_file(ledger, write_csv(tmp_path / "odd.csv", [], ("time",)))
    path = write_csv(tmp_path / "log.csv", [line(1, quantity="x")])
    with pytest.raises(Conflict, match=r"log\.csv"):
        await import_file(ledger, path, rejects=path)
    assert path.read_text("utf-8").startswith("occurred_at")
    with pytest.raises(GroatError, match="cannot be used"):
        await import_file(ledger, path, rejects=tmp_path / "no-such-directory" / "rejects.csv")


def test_rejects_of_lines_that_come_again_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    rejects = RejectsFile(path)
    rejects.append([Reject(3, "one", b"a"), Reject(9, 'with "quotes"', b"two\nlines"), Reject(30, "three", b"c")])
    whole = path.read_bytes()
    cut = {99: whole, 30: whole[: whole.index(b"30,")], 9: whole[: whole.index(b"9,")]}
    for next_line, kept in cut.items():
        path.write_bytes(whole)
        rejects.resume(next_line)
        assert path.read_bytes() == kept
    for torn in range(whole.index(b"9,") + 1, whole.index(b"30,")):  # a crash tears a record anywhere
        path.write_bytes(whole[:torn])
        rejects.resume(99)
        assert path.read_bytes() == cut[9]
    rejects.resume(0)
    assert not path.exists()
    path.write_text("precious", "utf-8")
    with pytest.raises(Conflict):
        rejects.resume(0)
    assert path.read_text("utf-8") == "precious"


@pytest.mark.skipif(not REAL_LOG.exists(), reason="the real log lies beside the project, not in it")
async def test_a_real_log_is_charged_to_the_last_digit(ledger: Ledger, ledger_address: Address) -> None:
    report = await import_file(ledger, REAL_LOG, until_now=True, create_users=True)
    assert (report.rows, report.recorded, report.rejected) == (19_366, 19_366, 0)
    cost = independent_cost(report.shift)
    assert (report.api_cost, report.credits) == (cost, cost * 10)
    assert ask(
        ledger_address, "SELECT count(*), sum(api_cost), sum(credits_charged), max(created_at) FROM credit_usage_events"
    ) == [(19_366, cost, cost * 10, max(at for at, _ in real_rows(report.shift)))]
    again = await import_file(ledger, REAL_LOG, until_now=True, create_users=True)
    assert (again.already_finished, again.recorded) == (True, 0)


def real_rows(shift: timedelta) -> list[tuple[datetime, dict[str, Any]]]:
    with REAL_LOG.open(encoding="utf-8", newline="") as stream:
        return [(datetime.fromisoformat(row["occurred_at"]) + shift, row) for row in csv.DictReader(stream)]


def independent_cost(shift: timedelta) -> Decimal:
    """Add up what the price library itself says that each call cost at its shifted time, in USD."""
    return sum(
        (
            calc_price(
                PricedUsage(input_tokens=int(row["input_tokens"]), output_tokens=int(row["output_tokens"])),
                row["model"],
                genai_request_timestamp=at,
            ).total_price
            for at, row in real_rows(shift)
        ),
        Decimal(0),
    )
