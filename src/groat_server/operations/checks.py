"""Checks: invariants with a verdict. Each is one SQL file that finds what contradicts it, and never repairs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from groat_server.core.rows import Finding
from groat_server.errors import NotFound
from groat_server.sql import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from groat_server.operations.ledger import Ledger

Verdict = Literal["pass", "warn", "fail"]

# What a finding means: a broken book, or something that a person should know of. Names that were published stay.
_BOOKS: tuple[str, ...] = (
    "balances_initialised",
    "owners_known",
    "demo_untracked",
    "names_claimed",
    "anonymised",
    "amounts_sane",
    "event_times",
    "cost_validation",
    "prices_pinned",
    "ledger_equals_balance",
    "total_consumed",
    "month_consumed",
    "balance_chain",
    "entries_explained",
    "refunds_within_charge",
    "voids_consistent",
    "lots_equal_balance",
    "lot_accounts",
    "draws_cover",
    "returns_explained",
    "returns_to_lots",
    "lots_in_time",
    "next_boundary",
    "periods_sane",
    "no_overdue_reset",
    "holds_resolved",
    "holds_counted",
    "no_hold_past_life",
    "keys_unique",
    "operations_done",
    "audited",
    "rollups_by_hour",
    "rollups_by_day",
    "rollups_by_user",
    "guards_in_place",
    "durable",
)
_NOTICES: tuple[str, ...] = ("tracking_alive", "no_unpriced_event", "service_role")
CHECKS = _BOOKS + _NOTICES


FINDINGS_MAX = 100
"""Findings that a result carries; the others are counted."""

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's verdict, what it promises, its first findings and how many there are."""

    name: str
    verdict: Verdict
    promise: str
    findings: Sequence[Finding]
    count: int


async def run_checks(
    ledger: Ledger, names: Sequence[str] = CHECKS, *, statement_timeout: str | None = None
) -> list[CheckResult]:
    """Run these checks, each in one statement of at most `statement_timeout` ("10min"), else what any reader is given.

    Raises NotFound (unknown_check).
    """
    statements = [find_check(name) for name in names]
    return [
        await _run(ledger, name, statement, statement_timeout)
        for name, statement in zip(names, statements, strict=True)
    ]


def find_check(name: str) -> Statement[Finding]:
    """Return a check's statement. Raises NotFound (unknown_check)."""
    if name not in CHECKS:
        raise NotFound(f"There is no check of this name. There are: {', '.join(CHECKS)}.", code="unknown_check")
    return Statement(f"checks/{name}", Finding)


def promise_of(name: str) -> str:
    """Return the sentence that a check holds the books to. Raises NotFound (unknown_check)."""
    return _promise(find_check(name).source)


async def _run(ledger: Ledger, name: str, statement: Statement[Finding], statement_timeout: str | None) -> CheckResult:
    shown: list[Finding] = []
    count = 0
    async with ledger.database.snapshot(statement_timeout=statement_timeout) as connection:
        async for findings in statement.batches(connection, _BATCH):
            shown += findings[: FINDINGS_MAX - len(shown)]
            count += len(findings)
    is_notice = name in _NOTICES or (name == "durable" and ledger.provider_durability)
    verdict: Verdict = "pass" if not count else "warn" if is_notice else "fail"
    return CheckResult(name, verdict, _promise(statement.source), shown, count)


def _promise(source: str) -> str:
    """Return the comment that heads a check's SQL: the sentence it holds the books to."""
    lines = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)
