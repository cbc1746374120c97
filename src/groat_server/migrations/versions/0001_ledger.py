"""The ledger's first tables."""

from groat_server.migrations import run_sql_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    run_sql_file(__file__)
