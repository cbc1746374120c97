"""The tables that scripts read, as SQLAlchemy models: for the guide's scripts, reads by hand, and the migration test.

The service itself charges and reports through statements. Names and columns are public interface; constraints and
triggers are in the migrations. Amounts are credits unless the column says otherwise.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from groat_server.core.credits import Amount

if TYPE_CHECKING:
    from sqlalchemy import Dialect


class ActionType(str):
    """An action type: a text that also answers to `.value`, as a member of an enumeration would."""

    __slots__ = ()

    @property
    def value(self) -> str:
        """The text itself."""
        return str(self)


class AmountType(TypeDecorator[Decimal]):
    """A numeric column whose values print in plain notation."""

    impl = Numeric
    cache_ok = True

    def process_result_value(self, value: Decimal | None, dialect: Dialect) -> Amount | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the value as an Amount."""
        return None if value is None else Amount(value)


class ActionTypeType(TypeDecorator[str]):
    """A text column of action types."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> ActionType | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Return the value as an ActionType."""
        return None if value is None else ActionType(value)


class Base(DeclarativeBase):
    """The base of all models."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way to declare it
        int: BigInteger,
        str: Text,
        Decimal: AmountType,
        ActionType: ActionTypeType,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }


class User(Base):
    """A user of the application."""

    __tablename__ = "users"
    __table_args__ = (PrimaryKeyConstraint("id", name="users_pkey"), Index("users_email_idx", "email"))

    id: Mapped[int] = mapped_column(BigInteger, Identity())
    email: Mapped[str]
    full_name: Mapped[str | None]
    external_id: Mapped[str | None]
    demo_mode: Mapped[bool] = mapped_column(Boolean, server_default=false())
    is_admin: Mapped[bool] = mapped_column(Boolean, server_default=false())
    time_zone: Mapped[str] = mapped_column(server_default="UTC")
    period_anchor: Mapped[datetime]
    opening_allowance: Mapped[Decimal | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    anonymised_at: Mapped[datetime | None]


class UserCreditBalance(Base):
    """A user's balance: what is left, and what was consumed in this period and ever."""

    __tablename__ = "user_credit_balances"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", name="user_credit_balances_pkey"),
        ForeignKeyConstraint(["user_id"], ["users.id"], name="user_credit_balances_user_id_fkey"),
        Index("user_credit_balances_next_boundary_at_idx", "next_boundary_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity())
    user_id: Mapped[int]
    current_balance: Mapped[Decimal] = mapped_column(server_default=text("0"))
    monthly_allowance: Mapped[Decimal]
    current_month_consumed: Mapped[Decimal] = mapped_column(server_default=text("0"))
    total_consumed: Mapped[Decimal] = mapped_column(server_default=text("0"))
    overdraft_limit: Mapped[Decimal] = mapped_column(server_default=text("0"))
    period_start: Mapped[datetime]
    next_reset_at: Mapped[datetime]
    next_boundary_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(server_default=text("0"))
    last_event_at: Mapped[datetime | None]
    last_recorded_at: Mapped[datetime]
    rollover_cap: Mapped[Decimal] = mapped_column(server_default=text("0"))
    total_voided: Mapped[Decimal] = mapped_column(server_default=text("0"))
    allocated: Mapped[Decimal] = mapped_column(server_default=text("0"))
    held_until: Mapped[datetime | None]
    has_operations: Mapped[bool] = mapped_column(Boolean, server_default=false())
    closed_month: Mapped[date | None]
    closed_month_credits: Mapped[Decimal] = mapped_column(server_default=text("0"))
    closed_previous_credits: Mapped[Decimal] = mapped_column(server_default=text("0"))
    open_day: Mapped[date | None]
    open_events: Mapped[int] = mapped_column(server_default=text("0"))
    open_credits: Mapped[Decimal] = mapped_column(server_default=text("0"))
    open_api_cost: Mapped[Decimal] = mapped_column(server_default=text("0"))


class CreditUsageEvent(Base):
    """One charge. `api_cost` is in USD. Immutable: the database refuses every change."""

    __tablename__ = "credit_usage_events"
    __table_args__ = (
        PrimaryKeyConstraint("user_id", "id", name="credit_usage_events_pkey"),
        UniqueConstraint("user_id", "idempotency_key", name="credit_usage_events_idempotency_key"),
        Index("credit_usage_events_user_created_idx", "user_id", "created_at"),
        Index("credit_usage_events_created_at_idx", "created_at"),
        Index("credit_usage_events_late_idx", "recorded_at", postgresql_where=text("occurred_at_given")),
        Index(
            "credit_usage_events_expensive_idx",
            text("credits_charged DESC"),
            postgresql_where=text("credits_charged > 1.0"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity())
    user_id: Mapped[int]
    created_at: Mapped[datetime]
    recorded_at: Mapped[datetime]
    version: Mapped[int]
    price_id: Mapped[int | None]
    input_tokens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    output_tokens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    cache_read_tokens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    cache_write_tokens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    reasoning_tokens: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    occurred_at_given: Mapped[bool] = mapped_column(Boolean)
    action_type: Mapped[ActionType]
    credits_charged: Mapped[Decimal]
    api_cost: Mapped[Decimal | None]
    credits_per_dollar: Mapped[Decimal]
    multiplier: Mapped[Decimal]
    cost_source: Mapped[str]
    balance_after: Mapped[Decimal]
    available_after: Mapped[Decimal]
    quantity: Mapped[Decimal | None]
    model_used: Mapped[str | None]
    provider: Mapped[str | None]
    idempotency_key: Mapped[str] = mapped_column(Text(collation="C"))
    description: Mapped[str | None]
    session_id: Mapped[str | None]
    event_metadata: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)
    hold_id: Mapped[int | None]
