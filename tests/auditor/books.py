"""The rows that an audit looks at, all of one snapshot."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias

import psycopg
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from collections.abc import Iterator

Row: TypeAlias = dict[str, Any]

_OF_USERS: dict[str, LiteralString] = {
    "balance": "SELECT * FROM user_credit_balances",
    "events": "SELECT * FROM credit_usage_events ORDER BY version",
    "voids": "SELECT * FROM voided_credit_usage_events ORDER BY void_version",
    "entries": "SELECT * FROM credit_ledger_entries ORDER BY version",
    "lots": "SELECT * FROM credit_lots",
    "draws": "SELECT * FROM credit_lot_draws ORDER BY first_credit",
    "returns": "SELECT * FROM credit_lot_returns ORDER BY first_credit",
    "holds": "SELECT * FROM credit_holds",
    "operations": "SELECT user_id, idempotency_key, verb FROM credit_operations",
    "days": "SELECT user_id, day, events, credits, api_cost, last_at, actions::text FROM user_daily",
}
_ROLLUPS: dict[str, LiteralString] = {
    "usage_hourly": "SELECT * FROM usage_hourly",
    "usage_daily": "SELECT * FROM usage_daily",
    "usage_daily_users": "SELECT * FROM usage_daily_users",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBooks:
    """The rows of one user who has a balance; events and moves in order of version."""

    balance: Row
    events: list[Row]
    voids: list[Row]
    entries: list[Row]
    lots: list[Row]
    draws: list[Row]
    returns: list[Row]
    holds: list[Row]
    operations: list[Row]
    audited: list[str]


@dataclass(frozen=True, slots=True)
class Books:
    """All rows; those of users by user and by kind."""

    users: dict[int, Row]
    emails: dict[str, int]
    external_ids: dict[str, int]
    price_versions: dict[int, Row]
    of_users: dict[int, dict[str, list[Row]]]
    balances: dict[int, Row]
    audited: dict[int, list[str]]
    usage_hourly: list[Row]
    usage_daily: list[Row]
    usage_daily_users: list[Row]

    @classmethod
    def read(cls, connection: psycopg.Connection[Any]) -> Books:
        """Read them as this connection sees them."""
        of_users: defaultdict[int, defaultdict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        audited: defaultdict[int, list[str]] = defaultdict(list)
        with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            for kind, query in _OF_USERS.items():
                for row in cursor.execute(query):
                    of_users[row["user_id"]][kind].append(row)
            users = {row["id"]: row for row in cursor.execute("SELECT * FROM users")}
            emails = {row["email"]: row["user_id"] for row in cursor.execute("SELECT * FROM user_emails")}
            external = {row["external_id"]: row["user_id"] for row in cursor.execute("SELECT * FROM user_external_ids")}
            versions = {row["id"]: row for row in cursor.execute("SELECT id, kind, name FROM price_versions")}
            for row in cursor.execute("SELECT user_id, act FROM audit_log WHERE user_id IS NOT NULL"):
                audited[row["user_id"]].append(row["act"])
            rollups = {name: list(cursor.execute(query)) for name, query in _ROLLUPS.items()}
        balances = {user_id: rows["balance"][0] for user_id, rows in of_users.items() if rows["balance"]}
        return cls(users, emails, external, versions, dict(of_users), balances, audited, **rollups)

    def all(self, kind: str) -> Iterator[Row]:
        """Yield the rows of one kind of all users."""
        for rows in self.of_users.values():
            yield from rows.get(kind, ())

    def account(self, user_id: int) -> AccountBooks:
        """Return the rows of a user who has a balance."""
        rows = self.of_users[user_id]
        return AccountBooks(
            balance=self.balances[user_id],
            events=rows.get("events", []),
            voids=rows.get("voids", []),
            entries=rows.get("entries", []),
            lots=rows.get("lots", []),
            draws=rows.get("draws", []),
            returns=rows.get("returns", []),
            holds=rows.get("holds", []),
            operations=rows.get("operations", []),
            audited=self.audited.get(user_id, []),
        )
