"""What a value looks like in a cell."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from groat_server.core.cells import cell_types, csv_cell
from groat_server.core.credits import Amount
from groat_server.operations.reports import REPORTS


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        ("plain", "plain"),
        ("", ""),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("a=1", "a=1"),
        (["=1", "b"], "'=1 b"),
        (-1, "-1"),
        (Amount("-0.0000005"), "-0.0000005"),
        (Decimal("-12.5"), "-12.5"),
        (True, "true"),
        (False, "false"),
        (date(2026, 1, 31), "2026-01-31"),
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=1))), "2026-01-31T11:00:00.000007Z"),
    ],
)
def test_a_cell_of_csv_says_the_value_and_runs_nothing(value: object, cell: str) -> None:
    """Taken out: the apostrophe."""
    assert csv_cell(value) == cell


@pytest.mark.parametrize("name", REPORTS)
def test_every_column_of_a_report_has_a_type(name: str) -> None:
    assert cell_types(REPORTS[name].statement.row)


def test_a_time_is_utc_wherever_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "America/New_York")
        time.tzset()
        assert csv_cell(datetime(2026, 1, 31, 12, tzinfo=UTC)) == "2026-01-31T12:00:00Z"
    time.tzset()
