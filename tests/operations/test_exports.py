"""Reports as files: however many rows there are, they are all there, and making the file takes little memory."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from groat_server.operations import exports
from groat_server.operations.exports import export_report
from groat_server.operations.users import ensure_users

if TYPE_CHECKING:
    from groat_server.operations.ledger import Ledger

pytestmark = pytest.mark.anyio

COUNT = 1234


@pytest.fixture
async def emails(ledger: Ledger) -> list[str]:
    """Make more users than are read or written at a time; returns their addresses in order."""
    made = [f"user-{number:04}@example.com" for number in range(COUNT)]
    async with ledger.database.write() as connection:
        await ensure_users(connection, made)
    return made


async def test_a_csv_has_every_row_once_and_in_order(ledger: Ledger, emails: list[str]) -> None:
    with await export_report(ledger, "users", "csv", limit=COUNT, sort_by="email") as file:
        rows = list(csv.DictReader(io.StringIO(file.read().decode(), newline="")))
    assert [row["email"] for row in rows] == emails


@pytest.mark.parametrize(("group", "groups"), [(50_000, [COUNT]), (600, [1000, 234])])
async def test_a_parquet_file_is_made_of_few_groups_of_rows(
    ledger: Ledger, emails: list[str], monkeypatch: pytest.MonkeyPatch, group: int, groups: list[int]
) -> None:
    """Taken out: the gathering of groups; each batch was one, and their index took memory without end."""
    monkeypatch.setattr(exports, "_PARQUET_GROUP", group)
    with await export_report(ledger, "users", "parquet", limit=COUNT, sort_by="email") as file:
        found = parquet.ParquetFile(file)
        assert [found.metadata.row_group(each).num_rows for each in range(found.num_row_groups)] == groups
        assert found.read().column("email").to_pylist() == emails
