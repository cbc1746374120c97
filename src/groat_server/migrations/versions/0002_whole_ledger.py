"""Lots, holds, corrections and the audit log."""

from groat_server.migrations import run_sql_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create them, and give each balance the lots that explain it."""
    run_sql_file(__file__)
