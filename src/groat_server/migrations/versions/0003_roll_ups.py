"""Roll-ups: hours, days, users' days."""

from groat_server.migrations import run_sql_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create them, empty."""
    run_sql_file(__file__)
