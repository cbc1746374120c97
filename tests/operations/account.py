"""One user's account by the SQL functions alone, at instants that the test chooses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from psycopg.rows import dict_row

from tests.operations.raw_charges import RawCharge, call

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg

Row: TypeAlias = dict[str, Any]

BIRTH = datetime(2026, 1, 10, 12, tzinfo=UTC)
"""When the user is created, unless said otherwise; the first period ends a month later."""

RESET = datetime(2026, 2, 10, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)

_numbers = count(1)


def day(number: float) -> datetime:
    """Return the instant so many days after the user's birth."""
    return BIRTH + timedelta(days=number)


@dataclass(frozen=True, slots=True)
class SqlAccount:
    """What is done to one user's credits."""

    connection: psycopg.Connection[Any]
    user_id: int

    @staticmethod
    def open(connection: psycopg.Connection[Any], allowance: int = 100, **columns: object) -> SqlAccount:
        """Create a user at BIRTH."""
        values = {
            "email": f"sql-{next(_numbers)}@example.com",
            "created_at": BIRTH,
            "opening_allowance": allowance,
            **columns,
        }
        names = ", ".join(values)
        places = ", ".join(["%s"] * len(values))
        query = f"INSERT INTO users ({names}) VALUES ({places}) RETURNING id"  # noqa: S608 - a test's own text
        (found,) = connection.execute(query.encode(), list(values.values())).fetchall()
        return SqlAccount(connection, found[0])

    def rows(self, query: str, *parameters: object) -> list[Row]:
        """Run one statement and return its rows by column."""
        with self.connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def row(self, query: str, *parameters: object) -> Row:
        """Run one statement and return its only row."""
        (found,) = self.rows(query, *parameters)
        return found

    def charge(self, key: str, credits_: Decimal | int | str, at: datetime, **fields: Any) -> Row:
        """Charge so many credits; returns the answer."""
        (found,) = self.charge_all([self.use(key, credits_, **fields)], at)
        return found

    def use(self, key: str, credits_: Decimal | int | str, **fields: Any) -> RawCharge:
        """Make a charge for a batch."""
        costs = str(Decimal(credits_) / 10)
        return RawCharge(user_ids=self.user_id, keys=key, credits=str(credits_), costs=costs, **fields)

    def charge_all(self, charges: Sequence[RawCharge], at: datetime, **options: Any) -> list[Row]:
        """Charge a batch; returns the answers."""
        return self.rows(call(charges, at=at, columns="*", **options))

    def grant(
        self,
        key: str,
        amount: object,
        at: datetime,
        *,
        kind: str = "purchase",
        priority: int | None = None,
        cost: object = None,
        starts: datetime | None = None,
        expires: datetime | None = None,
    ) -> Row:
        """Grant credits; returns the answer."""
        return self.row(
            "SELECT * FROM grant_credits_at(%s, %s, %s, %s, %s, %s, %s, %s, %s, 'reason', 'token:1')",
            at, self.user_id, key, kind, amount, priority, cost, starts, expires,
        )  # fmt: skip

    def adjust(self, key: str, amount: object, at: datetime, *, expires: datetime | None = None) -> Row:
        """Adjust the balance; returns the answer."""
        return self.row(
            "SELECT * FROM adjust_credits_at(%s, %s, %s, %s, %s, 'reason', 'token:1')",
            at, self.user_id, key, amount, expires,
        )  # fmt: skip

    def refund(self, key: str, event_id: int, amount: object, at: datetime) -> Row:
        """Refund an event, in part or (None) as far as there is anything left; returns the answer."""
        return self.row(
            "SELECT * FROM refund_event_at(%s, %s, %s, %s, %s, 'reason', 'token:1')",
            at, self.user_id, key, event_id, amount,
        )  # fmt: skip

    def void(self, key: str, event_id: int, at: datetime) -> Row:
        """Void an event; returns the answer."""
        return self.row(
            "SELECT * FROM void_event_at(%s, %s, %s, %s, 'reason', 'token:1')", at, self.user_id, key, event_id
        )

    def hold(self, key: str, amount: object, at: datetime, *, seconds: int = 900) -> Row:
        """Place a hold; returns the answer."""
        return self.row(
            "SELECT * FROM place_hold_at(%s, %s, %s, %s, %s, 'chat', NULL, NULL, '{}')",
            at, self.user_id, key, amount, seconds,
        )  # fmt: skip

    def renew(self, hold_id: int, seconds: int, at: datetime) -> Row:
        """Renew a hold; returns the answer."""
        return self.row("SELECT * FROM renew_hold_at(%s, %s, %s, %s)", at, self.user_id, hold_id, seconds)

    def release(self, hold_id: int, at: datetime) -> Row:
        """Release a hold; returns the answer."""
        return self.row("SELECT * FROM release_hold_at(%s, %s, %s)", at, self.user_id, hold_id)

    def set_terms(self, at: datetime, key: str | None = None, *, grant_now: bool = False, **terms: object) -> Row:
        """Change the terms: allowance, overdraft, rollover; returns the answer."""
        return self.row(
            "SELECT * FROM set_terms_at(%s, %s, %s, %s, %s, %s, %s, 'token:1')",
            at, self.user_id, key, terms.get("allowance"), grant_now, terms.get("overdraft"), terms.get("rollover"),
        )  # fmt: skip

    def settle(self, at: datetime) -> None:
        """Carry out what is due."""
        self.rows("SELECT settle_account_at(%s, %s)", at, self.user_id)

    @property
    def balance(self) -> Row:
        """The row of the balance."""
        return self.row("SELECT * FROM user_credit_balances WHERE user_id = %s", self.user_id)

    @property
    def credits(self) -> int:
        """The balance in credits."""
        return int(self.balance["current_balance"])

    @property
    def lots(self) -> list[tuple[str, int]]:
        """Kind and remaining credits of each lot that has any, in the order in which they came."""
        found = self.rows(
            "SELECT kind, remaining FROM credit_lots WHERE user_id = %s AND remaining > 0 ORDER BY id", self.user_id
        )
        return [(row["kind"], int(row["remaining"])) for row in found]

    @property
    def entries(self) -> list[tuple[str, int, datetime]]:
        """Kind, credits and time of each ledger entry, in order."""
        found = self.rows(
            "SELECT kind, amount, recorded_at FROM credit_ledger_entries WHERE user_id = %s ORDER BY version",
            self.user_id,
        )
        return [(row["kind"], int(row["amount"]), row["recorded_at"]) for row in found]

    @property
    def draws(self) -> list[tuple[str | None, int, int]]:
        """Which kind of lot (None: debt) paid for which stretch of what was consumed, in order."""
        found = self.rows(
            """
            SELECT lot.kind, draw.first_credit, draw.amount FROM credit_lot_draws AS draw
            LEFT JOIN credit_lots AS lot ON lot.user_id = draw.user_id AND lot.id = draw.lot_id
            WHERE draw.user_id = %s ORDER BY draw.first_credit
            """,
            self.user_id,
        )
        return [(row["kind"], int(row["first_credit"]), int(row["amount"])) for row in found]
