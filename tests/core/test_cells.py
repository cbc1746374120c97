"""What a value looks like in a cell."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from groat_server.core.cells import CellType, cell_types, csv_cell, csv_column
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


COLUMNS: list[tuple[CellType, list[object]]] = [
    ("text", ["plain", "=1+1", "\t=1", None, "", 'a "b", c', "two\nlines"]),
    ("integer", [0, -1, 2**63, None]),
    ("number", [Amount("-0.0000005"), Amount(0), Decimal("-12.5"), None]),
    ("instant", [datetime(2026, 1, 31, 12, 0, 0, 7, tzinfo=timezone(timedelta(hours=1))), None]),
    ("date", [date(2026, 1, 31), None]),
    ("flag", [True, False, None]),
    ("list", [["=1", "b"], [], None]),
]


@pytest.mark.parametrize(("kind", "column"), COLUMNS)
def test_a_column_is_written_as_each_of_its_cells_is(kind: CellType, column: list[object]) -> None:
    """Taken out: the apostrophe, and the words of flags."""
    written = [io.StringIO(newline=""), io.StringIO(newline="")]
    csv.writer(written[0]).writerows(["", cell] for cell in csv_column(kind, column))
    csv.writer(written[1]).writerows(["", csv_cell(cell)] for cell in column)
    assert written[0].getvalue() == written[1].getvalue()
