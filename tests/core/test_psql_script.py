"""A script for psql has its values in a form that psql, and then SQL, read as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from time import tzset
from typing import TYPE_CHECKING

from groat_server.core.psql_script import psql_script

if TYPE_CHECKING:
    import pytest

HEAD = "-- Groat's published SQL; psql runs it as it stands.\n"


def test_one_statement_has_its_values_before_it() -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=2)))
    values = {"days": 30, "at": at, "nobody": None, "name": "O'Neil \\ Sons", "word": "lamp"}
    assert psql_script([("SELECT :days\n\n", values)]) == (
        HEAD
        + r"""\set days 30
\set at '''2026-01-31T10:00:00+00:00'''
\set nobody NULL
\set name '''O''''Neil \\ Sons'''
\set word '''lamp'''
SELECT :days
;
"""
    )


def test_times_are_utc_wherever_the_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        tzset()
        script = psql_script([("SELECT :at", {"at": datetime(2026, 1, 31, tzinfo=UTC)})])
    tzset()
    assert "2026-01-31T00:00:00+00:00" in script


def test_several_statements_see_one_snapshot() -> None:
    assert psql_script([("SELECT 1", {}), ("SELECT 2", {"a": 1})]) == (
        HEAD
        + r"""BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;

SELECT 1
;

\set a 1
SELECT 2
;

COMMIT;
"""
    )
