"""A ledger of millions of events, to read from: by COPY, with running balances, and never through a charge.

python -m benchmarks.dataset DIRECTORY --events 20000000

100,000 users, the n-th as busy as 1/n; 60 days up to now, evenly; seven action types, twelve models, amounts as they
come. A refund for one event in 2,000. There are no lots, which no report reads.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import sql

from groat_server import embedded
from groat_server.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection, Cursor

USERS = 100_000
DAYS = 60
GRANTED = 1_000_000  # credits, to each user before the first event
_CHUNK = 100_000
_SHAPES = 20_000
_MICRO = 1_000_000
_REFUND_EVERY = 2_000
_FIRST_VERSION = 2  # the opening allowance has the first, the grant the second
# Not durable while it is made: a dataset that a power cut has spoilt is made again.
BUILDING = {"fsync": "off", "synchronous_commit": "off", "max_wal_size": "16GB", "autovacuum": "off"}

ACTIONS = ("ai_chat_message", "code_review", "document_summary", "embedding", "image_caption", "search", "translation")
MODELS: dict[str, tuple[int | str, int | str]] = {  # USD per million tokens, in and out
    "claude-3-5-sonnet": (3, 15),
    "claude-3-5-haiku": ("0.8", 4),
    "claude-3-opus": (15, 75),
    "gpt-4o": ("2.5", 10),
    "gpt-4o-mini": ("0.15", "0.6"),
    "gpt-4.1": (2, 8),
    "gpt-4.1-mini": ("0.4", "1.6"),
    "o3-mini": ("1.1", "4.4"),
    "gemini-1.5-pro": ("1.25", 5),
    "gemini-1.5-flash": ("0.075", "0.3"),
    "mistral-large": (2, 6),
    "llama-3.1-70b": ("0.6", "0.6"),
}

_COLUMNS = (
    "id, user_id, created_at, recorded_at, version, input_tokens, output_tokens, occurred_at_given, action_type,"
    " credits_charged, api_cost, credits_per_dollar, multiplier, cost_source, balance_after, available_after,"
    " model_used, provider, idempotency_key, description, session_id"
)


@dataclass(slots=True)
class _Shape:
    """One kind of use: its columns as COPY takes them, before and after the balances, and millionths of a credit."""

    before: str
    after: str
    micro: int


@dataclass(slots=True)
class _Accounts:
    """What the events so far have made of each user's account; the place is the user's id."""

    versions: list[int] = field(default_factory=lambda: [_FIRST_VERSION] * (USERS + 1))
    consumed: list[int] = field(default_factory=lambda: [0] * (USERS + 1))
    last_at: list[str | None] = field(default_factory=lambda: [None] * (USERS + 1))
    refunds: list[tuple[int, int, int]] = field(default_factory=list)  # user, event, millionths


def _shown(micro: int) -> str:
    whole, part = divmod(abs(micro), _MICRO)
    text = f"{whole}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micro < 0 else text


def _shapes(chance: random.Random) -> list[_Shape]:
    made = []
    models = list(MODELS)
    for _ in range(_SHAPES):
        # Some actions and some models are used much more than others; few calls are long.
        action = ACTIONS[int(len(ACTIONS) * chance.random() ** 2)]
        model = models[int(len(models) * chance.random() ** 2)]
        inputs, outputs = int(math.exp(chance.uniform(3, 10))), int(math.exp(chance.uniform(2, 8)))
        price_in, price_out = (Decimal(price) for price in MODELS[model])
        cost = ((inputs * price_in + outputs * price_out) / _MICRO).quantize(Decimal("0.0000001"))
        micro = int(cost * 10 * _MICRO)
        before = f"{inputs}\t{outputs}\tf\t{action}\t{_shown(micro)}\t{format(cost.normalize(), 'f')}\t10\t1\tmodel"
        made.append(_Shape(before, f"{model}\tprovider", micro))
    return made


def _rows(events: int, until: datetime, accounts: _Accounts) -> Iterator[str]:
    """Yield the events in the order of time, as lines of COPY, many at a time."""
    chance = random.Random(1)
    shapes = _shapes(chance)
    users = [min(USERS, int(math.exp(chance.random() * math.log(USERS + 1)))) for _ in range(1_000_000)]
    # As in any period, nearly everybody has used something at least once.
    start, step = until - timedelta(days=DAYS), DAYS * 86_400 / events
    versions, consumed, last_at = accounts.versions, accounts.consumed, accounts.last_at
    second, shown = -1, ""
    for first in range(0, events, _CHUNK):
        count = min(_CHUNK, events - first)
        lines = []
        drawn = zip(chance.choices(users, k=count), chance.choices(shapes, k=count), strict=True)
        for number, (user, shape) in enumerate(drawn, first + 1):
            at = number * step
            if int(at) != second:
                second = int(at)
                shown = (start + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S")
            instant = f"{shown}.{int(at % 1 * _MICRO):06d}+00"
            versions[user] += 1
            consumed[user] += shape.micro
            last_at[user] = instant
            if number % _REFUND_EVERY == 0:
                accounts.refunds.append((user, number, shape.micro))
            balance = _shown(GRANTED * _MICRO - consumed[user])
            key = f"{chance.getrandbits(32):08x}-{number:012x}-4a5b-8c9d-e0f1"
            lines.append(
                f"{number}\t{user}\t{instant}\t{instant}\t{versions[user]}\t{shape.before}\t{balance}\t{balance}"
                f"\t{shape.after}\t{key}\tA use\tsession-{user}\n"
            )
        yield "".join(lines)


def _copied(cursor: Cursor[tuple[object, ...]], statement: LiteralString, lines: Iterator[str]) -> None:
    with cursor.copy(statement) as copy:
        for chunk in lines:
            copy.write(chunk)


def build(connection: Connection[tuple[object, ...]], events: int, until: datetime) -> None:
    """Fill an empty ledger."""
    accounts = _Accounts()
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no triggers: what they would do is done below
        cursor.execute("SET maintenance_work_mem = '1GB'")
        _make_users(cursor, until)
        indexes = _drop_indexes(cursor)
        statement: LiteralString = f"COPY credit_usage_events ({_COLUMNS}) FROM STDIN"
        _copied(cursor, statement, _rows(events, until, accounts))
        _say(f"{events:,} events copied")
        for index in indexes:
            cursor.execute(sql.SQL(index))
        _say("indexes made")
        _settle(cursor, accounts)
        cursor.execute("SELECT setval('credit_usage_events_id_seq', %s)", (events,))
        cursor.execute("VACUUM (ANALYZE)")
        cursor.execute("CHECKPOINT")
    _say("vacuumed")


def _make_users(cursor: Cursor[tuple[object, ...]], until: datetime) -> None:
    opened = until - timedelta(days=DAYS + 1)
    for statement in _USERS_SQL:
        cursor.execute(statement, {"users": USERS, "opened": opened, "granted": GRANTED})
    cursor.execute("INSERT INTO action_types (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (list(ACTIONS),))


_USERS_SQL: tuple[LiteralString, ...] = (
    """
    INSERT INTO users (id, email, full_name, period_anchor, created_at)
    SELECT n, 'user' || to_char(n, 'FM000000') || '@example.com', 'User ' || n, %(opened)s, %(opened)s
    FROM generate_series(1, %(users)s) AS n
    """,
    "SELECT setval('users_id_seq', %(users)s)",
    "INSERT INTO user_emails (email, user_id) SELECT email, id FROM users",
    """
    INSERT INTO credit_ledger_entries (user_id, kind, amount, recorded_at, balance_after, version)
    SELECT n, 'purchase', %(granted)s, %(opened)s, %(granted)s, 2 FROM generate_series(1, %(users)s) AS n
    """,
    """
    INSERT INTO user_credit_balances (
        user_id, current_balance, monthly_allowance, period_start, next_reset_at, next_boundary_at, version,
        last_recorded_at
    )
    SELECT n, %(granted)s, 0, %(opened)s, %(opened)s + interval '1 year', %(opened)s + interval '1 year', 2, %(opened)s
    FROM generate_series(1, %(users)s) AS n
    """,
)


def _drop_indexes(cursor: Cursor[tuple[object, ...]]) -> list[str]:
    """Drop the events' indexes and return what makes them again, exactly."""
    cursor.execute(
        "SELECT index.relname, pg_get_indexdef(index.oid), own.conname, pg_get_constraintdef(own.oid)"
        " FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid"
        " LEFT JOIN pg_constraint AS own ON own.conindid = index.oid AND own.contype IN ('p', 'u')"
        " WHERE indrelid = 'credit_usage_events'::regclass"
    )
    again = []
    for name, index, constraint, constraint_text in cursor.fetchall():
        if constraint is None:
            cursor.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(str(name))))
            again.append(str(index))
        else:
            cursor.execute(
                sql.SQL("ALTER TABLE credit_usage_events DROP CONSTRAINT {}").format(sql.Identifier(str(constraint)))
            )
            again.append(f"ALTER TABLE credit_usage_events ADD CONSTRAINT {constraint} {constraint_text}")
    return again


def _settle(cursor: Cursor[tuple[object, ...]], accounts: _Accounts) -> None:
    """Bring the balances to where the events have left them, and give the refunds."""
    refunded = [0] * (USERS + 1)
    entries = []
    for user, event, micro in accounts.refunds:
        amount = micro // 2
        if amount:
            refunded[user] += amount
            accounts.versions[user] += 1
            balance = GRANTED * _MICRO - accounts.consumed[user] + refunded[user]
            entries.append(
                f"{user}\trefund\t{_shown(amount)}\t{accounts.last_at[user]}\t{_shown(balance)}"
                f"\t{accounts.versions[user]}\t{event}\n"
            )
    _copied(
        cursor,
        "COPY credit_ledger_entries (user_id, kind, amount, recorded_at, balance_after, version, event_id) FROM STDIN",
        iter(entries),
    )
    cursor.execute(
        "CREATE TEMPORARY TABLE spent (user_id bigint, credits numeric, back numeric, v bigint, at timestamptz)"
    )
    lines = (
        f"{user}\t{_shown(accounts.consumed[user])}\t{_shown(refunded[user])}\t{accounts.versions[user]}\t{at}\n"
        for user, at in enumerate(accounts.last_at)
        if at is not None
    )
    _copied(cursor, "COPY spent FROM STDIN", lines)
    cursor.execute(
        "UPDATE user_credit_balances AS balance"
        " SET current_balance = trim_scale(current_balance - credits + back), total_consumed = credits,"
        " current_month_consumed = credits, allocated = credits, version = v, last_event_at = at,"
        " last_recorded_at = at"
        " FROM spent WHERE spent.user_id = balance.user_id"
    )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def build_in(directory: Path, events: int) -> None:
    """Build a ledger in the embedded server of a directory."""
    with embedded.hold(directory, options=BUILDING) as server:
        migrate(server.socket_url)
        options = "-c timezone=UTC -c search_path=public,pg_temp"
        with psycopg.connect(server.socket_url, autocommit=True, options=options) as connection:
            build(connection, events, datetime.now(UTC))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    build_in(arguments.directory, arguments.events)
