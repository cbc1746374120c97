"""The monitoring guide works as it stands, and its figures are those of the endpoints and the commands."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path

from tests.docs_blocks import ROOT, Demo, Reader, blocks_of, demo

__all__ = ["demo"]

_EXPORT = Path("/tmp/credit_balances.csv")  # noqa: S108 - where the guide's COPY writes, on the server's machine
_METRICS = ["Total Events", "Total Credits Consumed", "Active Users", "Users with Balance"]


def test_every_block_of_the_guide_works(demo: Demo, tmp_path: Path) -> None:
    try:
        Reader(demo, tmp_path).follow("docs/guide.md")
        for exported in (tmp_path / "balances.csv", tmp_path / "report.csv", _EXPORT):
            header, *rows = csv.reader(io.StringIO(exported.read_text()))
            assert {"email", "current_balance", "next_reset_at"} <= set(header)
            assert rows
    finally:
        _EXPORT.unlink(missing_ok=True)


def test_the_guide_has_all_of_the_contracts_queries() -> None:
    """Fourteen statements of SQL and the script of four figures."""
    statements = [block for block in blocks_of("docs/guide.md") if block.language == "sql"]
    assert len(statements) >= 14
    assert (ROOT / "check_credits.sql").exists()


def test_check_credits_gives_four_figures_which_the_report_gives_too(
    demo: Demo,
) -> None:
    rows = [line.split("|") for line in _printed(demo, ["psql", "-XAtq", demo.database_url]).splitlines()]
    assert [metric for metric, _ in rows] == _METRICS
    header = _printed(demo, ["psql", "-XAq", demo.database_url]).splitlines()[0]
    assert header == "metric|value"
    reported = json.loads(_printed(demo, ["groat", "report", "quick-stats", "--json"]))
    exact = {row["metric"]: row["value"] for row in reported}
    assert rows[0][1] == exact["Total Events"]
    assert rows[1][1] == f"{float(exact['Total Credits Consumed']):.2f}"
    assert [value for _, value in rows[2:]] == [exact["Active Users"], exact["Users with Balance"]]


def test_check_credits_answers_on_an_empty_ledger_too(demo: Demo) -> None:
    """Every row is there, with figures, and its values are text."""
    script = (ROOT / "check_credits.sql").read_text()
    empty = "CREATE TEMP TABLE {0} (LIKE public.{0});"
    tables = "".join(empty.format(name) for name in ("credit_usage_events", "user_credit_balances"))
    printed = _printed(demo, ["psql", "-XAtq", demo.database_url], tables + script)
    assert printed.splitlines() == [
        "Total Events|0",
        "Total Credits Consumed|0.00",
        "Active Users|0",
        "Users with Balance|0",
    ]


def _printed(service: Demo, command: list[str], script: str | None = None) -> str:
    return subprocess.run(
        command,
        env=service.environment,
        input=script if script is not None else (ROOT / "check_credits.sql").read_text(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
