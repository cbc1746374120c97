"""The checks on the wire and among the figures: verdicts, findings, SQL; a round of all of them, again and again."""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from groat_server.core.scopes import Scope
from groat_server.http.application import create_app
from groat_server.http.service import Service
from groat_server.jobs.checks import Checker
from groat_server.operations.checks import CHECKS
from groat_server.operations.tokens import create_token
from tests.http.test_probes import client_of
from tests.operations.ledgers import ask, connect, new_user

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from groat_server.database import Address
    from groat_server.operations.ledger import Ledger
    from tests.http.api import Api

ROOT = "/api/v1/admin/checks"


@contextmanager
def drift(address: Address, user: str) -> Iterator[None]:
    """Have a user's total be one too high for as long as the block lasts."""
    move = (
        b"UPDATE user_credit_balances SET total_consumed = total_consumed + %s"
        b" FROM users WHERE users.id = user_id AND (email = %s OR users.id::text = %s)"
    )
    with connect(address) as connection:
        connection.execute(move, (1, user, user))
        try:
            yield
        finally:
            connection.execute(move, (-1, user, user))


def test_all_checks_are_run_and_tell_their_verdicts_and_promises(api: Api) -> None:
    body = api.get(ROOT).body
    assert [check["name"] for check in body["checks"]] == list(CHECKS)
    assert body["count"] == len(CHECKS)
    assert body["failed"] == 0
    for check in body["checks"]:
        assert check["promise"].endswith(".")
        assert (check["verdict"] == "pass") is (check["count"] == 0) is (check["findings"] == [])


def test_a_check_that_fails_names_what_it_found_and_the_next_one_finds_it_again(
    api: Api, shared_ledger: Address
) -> None:
    user = api.new_user()
    user_id = api.get(f"/api/v1/admin/users/{user}").body["user"]["id"]
    with drift(shared_ledger, user):
        first, second = (api.get(f"{ROOT}/total_consumed").body for _ in range(2))
        everything = api.get(ROOT).body
    assert first == second
    assert (first["verdict"], first["count"]) == ("fail", 1)
    assert first["findings"] == [{"subject": f"user {user_id}", "finding": "total_consumed 1, events 0"}]
    assert everything["failed"] == 1
    assert api.get(f"{ROOT}/total_consumed").body["verdict"] == "pass"


def test_a_check_tells_its_sql(api: Api, shared_ledger: Address) -> None:
    answer = api.get(f"{ROOT}/lots_equal_balance", explain="sql")
    assert answer.headers["content-type"].startswith("text/plain")
    script = answer.content.decode()
    assert "credit_lots" in script
    assert ask(shared_ledger, script.replace("%", "%%")) == []


def test_a_check_that_is_none_is_not_there(api: Api) -> None:
    assert api.get(f"{ROOT}/nonsense").code == (404, "unknown_check")
    assert api.get(f"{ROOT}/nonsense", explain="sql").code == (404, "unknown_check")


@pytest.mark.anyio
async def test_a_second_caller_is_told_to_wait_while_the_first_one_checks(ledger_address: Address) -> None:
    """Taken out: the turn; both ran."""
    app = create_app(Service(ledger_address, provider_durability=True))
    async with client_of(app) as client:
        token = await _token(app.state.ledger)
        headers = {"Authorization": f"Bearer {token}"}
        answers = await asyncio.gather(*(client.get(ROOT, headers=headers) for _ in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
        assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 503} == {"1"}
        assert (await client.get(ROOT, headers=headers)).status_code == 200


@pytest.mark.anyio
async def test_the_figures_have_the_findings_of_the_last_round(ledger_address: Address) -> None:
    service = Service(ledger_address, provider_durability=True)
    told = asyncio.Event()
    noted = service.gauges.checked

    def note(findings: Mapping[str, float]) -> None:
        noted(findings)
        told.set()

    service.gauges.checked = note  # type: ignore[method-assign]  # to know when a round is over
    async with client_of(create_app(service)) as client:
        await told.wait()
        text = (await client.get("/metrics")).text
    found = dict(re.findall(r'^groat_check_findings\{check="(\w+)"\} (\S+)$', text, re.MULTILINE))
    assert found.keys() == set(CHECKS)
    assert {name for name, count in found.items() if count != "0.0"} == {"durable", "service_role", "tracking_alive"}
    assert float(re.findall(r"^groat_check_last_run_timestamp (\S+)$", text, re.MULTILINE)[0]) > 0


@pytest.mark.anyio
async def test_rounds_follow_the_ledger_and_outlive_a_check_that_cannot_be_run(
    ledger: Ledger, ledger_address: Address, caplog: pytest.LogCaptureFixture
) -> None:
    """Taken out: the net around a check; the job ended with the first error."""
    rounds: asyncio.Queue[Mapping[str, float]] = asyncio.Queue()
    user_id = await new_user(ledger)
    checker = asyncio.create_task(Checker(ledger, rounds.put_nowait, interval=0, pause_factor=0).run())
    try:
        await _until(rounds, "total_consumed", 0)
        with drift(ledger_address, str(user_id)):
            await _until(rounds, "total_consumed", 1)
            ask(ledger_address, "ALTER TABLE audit_log RENAME TO hidden")
            await _until(rounds, "audited", math.nan)
            await _until(rounds, "total_consumed", 1)
            ask(ledger_address, "ALTER TABLE hidden RENAME TO audit_log")
        await _until(rounds, "audited", 0)
        await _until(rounds, "total_consumed", 0)
    finally:
        checker.cancel()
    assert "the check total_consumed has 1 findings" in caplog.text


async def _until(rounds: asyncio.Queue[Mapping[str, float]], check: str, count: float) -> None:
    async with asyncio.timeout(60):
        while True:
            findings = await rounds.get()
            assert findings.keys() == set(CHECKS)
            if findings[check] == count or (math.isnan(count) and math.isnan(findings[check])):
                return


async def _token(ledger: Ledger) -> str:
    made = await create_token(ledger, name="checks", user_id=None, scopes=[Scope.REPORTS_READ])
    return made.token
