"""The dashboard: sessions, and links that begin one; an index for the feed. Tokens for spreadsheets."""

from groat_server.migrations import run_sql_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create them."""
    run_sql_file(__file__)
