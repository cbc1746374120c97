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

# What a finding means: a broken book, or something that a person should know of.
_BOOKS: tuple[str, ...] = (
    "balances_initialised",
    "demo_untracked",
    "cost_validation",
    "ledger_equals_balance",
    "total_consumed",
    "month_consumed",
    "balance_chain",
    "no_overdue_reset",
    "names_claimed",
    "durable",
)
_NOTICES: tuple[str, ...] = ("tracking_alive", "no_unpriced_event")
CHECKS = _BOOKS + _NOTICES


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check's verdict, what it says and what it found."""

    name: str
    verdict: Verdict
    promise: str
    findings: Sequence[Finding]


async def run_checks(ledger: Ledger, names: Sequence[str] = CHECKS) -> list[CheckResult]:
    """Run these checks, each in one statement. Raises NotFound for a name that no check has."""
    for name in names:
        if name not in CHECKS:
            raise NotFound(f"There is no check {name!r}. There are: {', '.join(CHECKS)}.", code="unknown_check")
    return [await _run(ledger, name) for name in names]


async def _run(ledger: Ledger, name: str) -> CheckResult:
    statement = Statement(f"checks/{name}", Finding)
    async with ledger.database.read() as connection:
        findings = await statement.all(connection)
    is_notice = name in _NOTICES or (name == "durable" and ledger.provider_durability)
    verdict: Verdict = "pass" if not findings else "warn" if is_notice else "fail"
    return CheckResult(name, verdict, _promise(statement.source), findings)


def _promise(source: str) -> str:
    """Return the comment that heads a check's SQL: the sentence it holds the books to."""
    lines = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    return " ".join(lines)
