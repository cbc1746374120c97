"""The answers of the registry of reports, and of an account through time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import WithJsonSchema

from groat_server.http.shapes import Number
from groat_server.operations.checks import Verdict


@dataclass(frozen=True, slots=True)
class ParameterShape:
    """What may be said to a report."""

    name: str
    type: str
    description: str
    is_required: bool
    default: int | str | None
    minimum: int | None
    maximum: int | None
    choices: list[str]


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """One column of a report: text, integer, number, instant, date, flag or list."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class ReportItem:
    """A report: what it takes, what it returns, and its SQL, with `:name` where a parameter goes."""

    name: str
    title: str
    parameters: list[ParameterShape]
    columns: list[ColumnShape]
    sql: str


@dataclass(frozen=True, slots=True)
class ReportListShape:
    """All reports."""

    reports: list[ReportItem]
    count: int


@dataclass(frozen=True, slots=True)
class ReportShape:
    """A report's rows, each with the columns that the list of reports names."""

    report: str
    rows: Annotated[list[dict[str, Any]], WithJsonSchema({"type": "array", "items": {"type": "object"}})]
    count: int


@dataclass(frozen=True, slots=True)
class WhoShape:
    """Whose account it is."""

    id: int
    email: str
    full_name: str | None


@dataclass(frozen=True, slots=True)
class PastBalanceShape:
    """A balance as of `at`; `recorded_at` is when its last move was booked, null where there was none yet."""

    user: WhoShape
    at: datetime
    balance: Number
    total_consumed: Number
    version: int
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class StatementLineShape:
    """What the moves of one kind came to; charges and voids by action type. The amount has its sign."""

    kind: str
    action_type: str | None
    count: int
    amount: Number


@dataclass(frozen=True, slots=True)
class StatementShape:
    """The moves booked from `period_start` until before `period_end`.

    `closing_balance` = `opening_balance` + all `amount`s.
    """

    user: WhoShape
    period_start: datetime
    period_end: datetime
    opening_balance: Number
    lines: list[StatementLineShape]
    closing_balance: Number


@dataclass(frozen=True, slots=True)
class FindingShape:
    """Whom it concerns and what is wrong."""

    subject: str
    finding: str


@dataclass(frozen=True, slots=True)
class CheckShape:
    """A check: what it promises, whether that holds, how many findings contradict it, and the first of them."""

    name: str
    verdict: Verdict
    promise: str
    count: int
    findings: list[FindingShape]


@dataclass(frozen=True, slots=True)
class CheckListShape:
    """All checks; `failed` is how many of them fail."""

    checks: list[CheckShape]
    count: int
    failed: int
