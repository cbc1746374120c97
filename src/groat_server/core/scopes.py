"""What a service's token may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """One right of a service token. An administrator's token has them all, a regular user's none."""

    USAGE_WRITE = "usage:write"
    USAGE_PRICE = "usage:price"
    BALANCE_READ = "balance:read"
    GRANTS_WRITE = "grants:write"
    REPORTS_READ = "reports:read"
    SHEETS_READ = "sheets:read"
    ADMIN = "admin"
