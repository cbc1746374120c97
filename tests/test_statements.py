"""Every `.sql` file says what it is, can be prepared, returns what its row type expects, and is used."""

from __future__ import annotations

import importlib
import pkgutil
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from groat_server import operations
from groat_server.core.rows import Finding
from groat_server.operations.checks import CHECKS
from groat_server.operations.reports import REPORTS
from groat_server.sql import Statement
from tests.operations.ledgers import ask, connect, rows
from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from groat_server.database import Address

SQL = Path(str(files("groat_server.sql")))
NAMES = sorted(
    str(path.relative_to(SQL).with_suffix("")) for path in SQL.rglob("*.sql") if path.parent.name != "definitions"
)
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


def _statements() -> Iterator[Statement[Any]]:
    """Yield the statements of all operations: module by module, report by report, check by check."""
    for module in pkgutil.iter_modules(operations.__path__, f"{operations.__name__}."):
        yield from (each for each in vars(importlib.import_module(module.name)).values() if isinstance(each, Statement))
    for report in REPORTS.values():
        yield from (each for each in (report.statement, report.rolled_up, report.of_users, report.by_user) if each)
    yield from (Statement(f"checks/{name}", Finding) for name in CHECKS)


def test_every_sql_file_is_used_by_a_statement() -> None:
    assert sorted({statement.name for statement in _statements()}) == NAMES


def test_every_statement_can_be_prepared_and_returns_what_its_row_expects(ledger_address: Address) -> None:
    got, expected = {}, {}
    with connect(ledger_address) as connection:
        for statement in _statements():
            key = f"{statement.name} as {statement.row.__name__}"
            got[key], expected[key] = _columns(connection.pgconn, statement.source), sorted(statement.columns)
    assert got == expected


def _columns(server: Any, source: str) -> list[str]:
    """Return the columns of a statement as the server describes them, sorted; its complaint where it has one."""
    names: list[str] = []

    def numbered(parameter: re.Match[str]) -> str:
        if parameter[1] not in names:
            names.append(parameter[1])
        return f"${names.index(parameter[1]) + 1}"

    text = _PARAMETER.sub(numbered, re.sub(r"--[^\n]*", "", source))
    prepared = server.prepare(b"", text.encode())
    if prepared.error_message:
        return [prepared.error_message.decode()]
    described = server.describe_prepared(b"")
    return sorted(described.fname(n).decode() for n in range(described.nfields))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_opens_with_its_purpose(name: str) -> None:
    text = (SQL / f"{name}.sql").read_text()
    assert text.startswith("-- ")
    assert not text.rstrip().endswith(";")


def test_a_key_is_looked_up_by_its_unique_index_even_before_there_are_statistics(ledger_address: Address) -> None:
    """Taken out: the range form of the probe in charge_batch (for `event.idempotency_key = r.key`)."""
    ask(ledger_address, "INSERT INTO users (email) VALUES ('a@example.com')")
    with connect(ledger_address) as connection:
        for batch in range(3):
            charges = [RawCharge(user_ids=1, keys=f"{batch} {n}", credits="0", costs="0") for n in range(1000)]
            assert set(rows(connection, call(charges, columns="outcome"))) == {("recorded",)}
        rows(connection, "SELECT pg_stat_force_next_flush()")
        scans: dict[str, int] = dict(
            connection.execute(
                "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE relname = 'credit_usage_events'"
            ).fetchall()
        )
        assert rows(
            connection,
            "SELECT seq_scan, last_analyze, last_autoanalyze FROM pg_stat_user_tables"
            " WHERE relname = 'credit_usage_events'",
        ) == [(0, None, None)]
    assert scans["credit_usage_events_user_created_idx"] == 0
    assert scans["credit_usage_events_idempotency_key"] >= 3000
