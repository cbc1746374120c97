"""What somebody with all rights could do to the books, and which checks must find it, naming exactly what was hurt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

USER = "user {user_id}"
EVENT = "event {id} of user {user_id}"
HOLD = "hold {id} of user {user_id}"
LOT = "lot {id} of user {user_id}"
OTHER_LOT = "lot {other_id} of user {user_id}"
VERSION = "version {version} of user {user_id}"
NEXT = "version {next} of user {user_id}"
HOUR = "hour {created_at:%Y-%m-%d %H:00}"
DAY = "day {created_at:%Y-%m-%d}"
USER_DAY = "day {created_at:%Y-%m-%d} of user {user_id}"
OTHER_HOUR = "hour {other_at:%Y-%m-%d %H:00}"
OTHER_DAY = "day {other_at:%Y-%m-%d}"
OTHER_USER_DAY = "day {other_at:%Y-%m-%d} of user {user_id}"
ROLLED_UP = {"rollups_by_hour": {HOUR}, "rollups_by_day": {DAY}, "rollups_by_user": {USER_DAY}}
REFUND_ROLLED_UP = {"rollups_by_hour": {HOUR}, "rollups_by_day": {DAY}}


@dataclass(frozen=True, slots=True)
class Corruption:
    """One row is picked by a query; `deed` is done to it, past all triggers; `found` are the subjects, by check."""

    name: str
    pick: str
    deed: str
    found: Mapping[str, set[str]]


_ANN = "SELECT user_id FROM user_credit_balances WHERE user_id = %(ann)s"
_QUIET = "SELECT user_id FROM user_credit_balances WHERE user_id = %(quiet)s"
_DEMO = "SELECT id AS user_id, now() AS created_at FROM users WHERE id = %(demo)s"
_FORGOTTEN = "SELECT id AS user_id FROM users WHERE id = %(forgotten)s"
# An event of an earlier period that nothing else refers to.
_OLD_EVENT = """
    SELECT user_id, id, version, version + 1 AS next, created_at, created_at - interval '1 hour' AS other_at
    FROM credit_usage_events
    WHERE user_id = %(ann)s AND idempotency_key = 'much'
"""
_MUCH_OLDER_EVENT = _OLD_EVENT.replace("1 hour", "30 days")
_NEW_EVENT = """
    SELECT user_id, id, version, version + 1 AS next, created_at FROM credit_usage_events
    WHERE user_id = %(bob)s AND idempotency_key = 'present 2'
"""
_FREE_EVENT = "SELECT user_id, id FROM credit_usage_events WHERE user_id = %(ann)s AND idempotency_key = 'present 0'"
_MODEL_EVENT = "SELECT user_id, id FROM credit_usage_events WHERE user_id = %(ann)s AND model_used = 'lamp'"
_UNIT_EVENT = "SELECT user_id, id FROM credit_usage_events WHERE user_id = %(ann)s AND cost_source = 'action'"
_VOIDED_EVENT = """
    SELECT user_id, id, version, version + 1 AS next, void_version, void_version + 1 AS next_void, created_at
    FROM voided_credit_usage_events WHERE user_id = %(ann)s AND idempotency_key = 'second'
"""
_LAST_VOID = """
    SELECT user_id, id, void_version AS version FROM voided_credit_usage_events
    WHERE user_id = %(ann)s AND idempotency_key = 'present and voided'
"""
_CAPTURE = "SELECT user_id, event_id, id FROM credit_holds WHERE user_id = %(cay)s AND idempotency_key = 'hold 1'"
_HOLD = "SELECT user_id, id, idempotency_key FROM credit_holds WHERE user_id = %(ann)s AND state = 'open'"
_LOT = """
    SELECT lot.user_id, lot.id, (
        SELECT min(other.id) FROM credit_lots AS other
        WHERE other.user_id = lot.user_id AND other.id <> lot.id AND other.remaining > 1 AND other.version IS NOT NULL
            AND other.remaining < other.amount
    ) AS other_id, lot.version
    FROM credit_lots AS lot
    WHERE lot.user_id = %(ann)s AND lot.kind = 'purchase' AND lot.amount = 70
"""
_SCHEDULED = "SELECT user_id, id FROM credit_lots WHERE user_id = %(ann)s AND version IS NULL"
_EXPIRED = """
    SELECT lot.user_id, lot.id, entry.version FROM credit_lots AS lot
    JOIN credit_ledger_entries AS entry
        ON entry.user_id = lot.user_id AND entry.lot_id = lot.id AND entry.kind = 'expiry'
    WHERE lot.user_id = %(ann)s AND lot.kind = 'promotion' AND lot.amount = 10
"""
_DRAW = """
    SELECT draw.user_id, draw.id AS draw_id, draw.lot_id AS id, (
        SELECT max(lot.id) FROM credit_lots AS lot WHERE lot.user_id = draw.user_id AND lot.kind = 'purchase'
    ) AS other_id
    FROM credit_lot_draws AS draw JOIN credit_lots AS lot ON lot.user_id = draw.user_id AND lot.id = draw.lot_id
    WHERE draw.user_id = %(ann)s AND lot.kind = 'allowance' AND NOT EXISTS (
        SELECT FROM credit_lot_returns AS piece WHERE piece.user_id = draw.user_id AND piece.drawn_from = draw.lot_id
    )
    ORDER BY draw.id LIMIT 1
"""
_LATE_DRAW = """
    SELECT draw.user_id, draw.id AS draw_id, draw.lot_id AS other_id, (
        SELECT id FROM credit_lots WHERE user_id = draw.user_id AND kind = 'promotion' AND amount = 10 AND remaining = 0
    ) AS id
    FROM credit_lot_draws AS draw
    WHERE draw.user_id = %(ann)s AND draw.lot_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM credit_lot_returns AS piece WHERE piece.user_id = draw.user_id AND piece.drawn_from = draw.lot_id
    )
    ORDER BY draw.id DESC LIMIT 1
"""
_DEBT = "SELECT user_id, id AS draw_id FROM credit_lot_draws WHERE user_id = %(bob)s AND lot_id IS NULL LIMIT 1"
_RETURN = """
    SELECT piece.user_id, piece.id AS piece_id, piece.version, piece.returned_to AS id
    FROM credit_lot_returns AS piece JOIN credit_operations AS operation
        ON operation.user_id = piece.user_id AND operation.idempotency_key = 'refund in time'
        AND CAST(operation.answer ->> 'version' AS bigint) = piece.version
    WHERE piece.user_id = %(ann)s
"""
_REFUND_LOT = """
    SELECT piece.user_id, piece.version, lot.id, piece.drawn_from AS other_id
    FROM credit_lot_returns AS piece
    JOIN credit_lots AS lot ON lot.user_id = piece.user_id AND lot.id = piece.returned_to AND lot.kind = 'refund'
    JOIN credit_operations AS operation
        ON operation.user_id = piece.user_id AND operation.idempotency_key = 'refund late'
        AND CAST(operation.answer ->> 'version' AS bigint) = piece.version
    WHERE piece.user_id = %(ann)s
"""
_VOID_LOT = """
    SELECT lot.user_id, lot.version, lot.id FROM credit_lots AS lot JOIN voided_credit_usage_events AS voided
        ON voided.user_id = lot.user_id AND voided.void_version = lot.version AND voided.idempotency_key = 'second'
    WHERE lot.user_id = %(ann)s
"""
_REFUND = """
    SELECT entry.user_id, entry.version, cheap.id, event.created_at, cheap.created_at AS other_at
    FROM credit_ledger_entries AS entry
    JOIN credit_usage_events AS event ON event.user_id = entry.user_id AND event.id = entry.event_id
    JOIN credit_usage_events AS cheap ON cheap.user_id = entry.user_id AND cheap.idempotency_key = 'units'
    WHERE entry.user_id = %(ann)s AND event.idempotency_key = 'first' ORDER BY entry.version DESC LIMIT 1
"""
_RESET = """
    SELECT entry.user_id, entry.version, entry.lot_id AS id, cb.period_start
    FROM credit_ledger_entries AS entry JOIN user_credit_balances cb ON cb.user_id = entry.user_id
    WHERE entry.user_id = %(ann)s AND entry.kind = 'allowance' AND entry.period_start < cb.period_start
    ORDER BY entry.version DESC LIMIT 1
"""
_PERIOD = """
    SELECT cb.user_id, lot.id FROM user_credit_balances cb
    JOIN credit_lots AS lot ON lot.user_id = cb.user_id AND lot.starts_at = cb.period_start AND lot.kind = 'allowance'
    WHERE cb.user_id = %(quiet)s
"""
_GRANT = """
    SELECT user_id, CAST(answer ->> 'lot_id' AS bigint) AS id FROM credit_operations
    WHERE user_id = %(ann)s AND idempotency_key = 'bought'
"""

_AN_HOUR = """
    SELECT ctid::text AS place, hour AS created_at FROM usage_hourly WHERE events > 0 ORDER BY hour LIMIT 1
"""
_A_DAY = "SELECT ctid::text AS place, day AS created_at FROM usage_daily WHERE events > 0 ORDER BY day LIMIT 1"
_A_USERS_DAY = """
    SELECT user_id, day AS created_at, day - 3000 AS other_at FROM user_daily
    WHERE user_id = %(ann)s ORDER BY day LIMIT 1
"""
_OPEN_DAY = "SELECT user_id, open_day AS created_at FROM user_credit_balances WHERE user_id = %(ann)s"
_LESS = """
    SELECT entry.user_id, entry.version FROM credit_ledger_entries AS entry JOIN credit_operations AS operation
        ON operation.user_id = entry.user_id AND operation.idempotency_key = 'less'
        AND CAST(operation.answer ->> 'version' AS bigint) = entry.version
    WHERE entry.user_id = %(ann)s
"""
_REFUND_BESIDE_A_VOID = """
    SELECT entry.user_id, entry.version, voided.id, event.created_at
    FROM credit_ledger_entries AS entry
    JOIN credit_usage_events AS event ON event.user_id = entry.user_id AND event.id = entry.event_id
    JOIN voided_credit_usage_events AS voided ON voided.user_id = entry.user_id AND voided.idempotency_key = 'second'
    WHERE entry.user_id = %(ann)s AND event.idempotency_key = 'first' ORDER BY entry.version DESC LIMIT 1
"""
_FIRST_LOT = "SELECT user_id, id FROM credit_lots WHERE user_id = %(dan)s ORDER BY id LIMIT 1"
_DEBT_UNDONE = """
    SELECT user_id, id AS piece_id, version FROM credit_lot_returns
    WHERE user_id = %(bob)s AND returned_to IS NULL ORDER BY id LIMIT 1
"""

_SUMS = {"ledger_equals_balance": {USER}, "total_consumed": {USER}, "lots_equal_balance": {USER}}

CORRUPTIONS = [
    # --- who has what
    Corruption("a balance is gone", _QUIET, "DELETE FROM user_credit_balances WHERE user_id = %(user_id)s",
               {"balances_initialised": {USER}}),
    Corruption("a user with a history is in demo mode", _ANN,
               "UPDATE users SET demo_mode = true WHERE id = %(user_id)s",
               {"balances_initialised": {USER}, "demo_untracked": {USER}}),
    Corruption("an event of a demo user", _DEMO,
               "INSERT INTO credit_usage_events (user_id, created_at, recorded_at, version, occurred_at_given,"
               " action_type,"
               " credits_charged, api_cost, credits_per_dollar, multiplier, cost_source, balance_after,"
               " available_after,"
               " idempotency_key) VALUES (%(user_id)s, now(), now(), 1, false, 'x', 1, 0.1, 10, 1, 'caller',"
               " -1, -1, 'x')",
               {"demo_untracked": {USER}, **ROLLED_UP}),
    Corruption("a user is deleted", _QUIET, "DELETE FROM users WHERE id = %(user_id)s",
               {"owners_known": {USER}, "names_claimed": {USER}}),
    Corruption("a claim on an e-mail address is gone", _ANN, "DELETE FROM user_emails WHERE user_id = %(user_id)s",
               {"names_claimed": {USER}}),
    Corruption("an e-mail address in capitals", _ANN, "UPDATE users SET email = upper(email) WHERE id = %(user_id)s",
               {"names_claimed": {USER}}),
    Corruption("a claim on another external id", _ANN,
               "INSERT INTO user_external_ids VALUES ('nobody''s', %(user_id)s)", {"names_claimed": {USER}}),
    Corruption("an anonymised user has a name", _FORGOTTEN,
               "UPDATE users SET full_name = 'Ann' WHERE id = %(user_id)s", {"anonymised": {USER}}),
    Corruption("an anonymised user has a description", _FORGOTTEN,
               "UPDATE credit_usage_events SET description = 'about me' WHERE user_id = %(user_id)s",
               {"anonymised": {USER}}),
    Corruption("an anonymised user has a token", _FORGOTTEN,
               "INSERT INTO access_tokens (user_id, name, prefix, token_hash) VALUES (%(user_id)s, '', 'x', 'x')",
               {"anonymised": {USER}}),
    Corruption("a claim on an external id is gone", _ANN, "DELETE FROM user_external_ids WHERE user_id = %(user_id)s",
               {"names_claimed": {USER}}),
    *(
        Corruption(f"an anonymised user is told of in {table}", _FORGOTTEN,
                   f"UPDATE {table} SET {column} = 'x' WHERE user_id = %(user_id)s", {"anonymised": {USER}})  # noqa: S608 - our own tables
        for table, column in (
            ("voided_credit_usage_events", "void_reason"), ("credit_ledger_entries", "reason"),
            ("credit_lots", "reason"), ("credit_holds", "description"),
        )
    ),
    Corruption("a reason in the audit log of an anonymised user", _FORGOTTEN,
               """UPDATE audit_log SET details = details || '{"reason": "x"}' WHERE user_id = %(user_id)s""",
               {"anonymised": {USER}}),
    Corruption("a claim on an old e-mail address", _ANN,
               "INSERT INTO user_emails VALUES ('old@example.com', %(user_id)s)", {"names_claimed": {USER}}),
    # --- amounts, times, prices
    Corruption("an amount with a trailing zero", _ANN,
               "ALTER TABLE user_credit_balances DROP CONSTRAINT user_credit_balances_overdraft_limit;"
               "UPDATE user_credit_balances SET overdraft_limit = 5.10 WHERE user_id = %(user_id)s",
               {"amounts_sane": {USER}, "guards_in_place": {"table user_credit_balances"}}),
    Corruption("an amount that is no number", _OLD_EVENT,
               "UPDATE credit_usage_events SET available_after = 'NaN' WHERE id = %(id)s", {"amounts_sane": {EVENT}}),
    Corruption("an infinite balance", _OLD_EVENT,
               "UPDATE credit_usage_events SET available_after = 'Infinity' WHERE id = %(id)s",
               {"amounts_sane": {EVENT}}),
    Corruption("a voided amount that is no number", _VOIDED_EVENT,
               "UPDATE voided_credit_usage_events SET available_after = 'NaN' WHERE id = %(id)s",
               {"amounts_sane": {EVENT}}),
    Corruption("an entry with a trailing zero", _LESS,
               "ALTER TABLE credit_ledger_entries DROP CONSTRAINT credit_ledger_entries_amount;"
               "UPDATE credit_ledger_entries SET amount = amount + 0.00"
               " WHERE user_id = %(user_id)s AND version = %(version)s",
               {"amounts_sane": {VERSION}, "guards_in_place": {"table credit_ledger_entries"}}),
    Corruption("a draw with a trailing zero", _DRAW,
               "UPDATE credit_lot_draws SET amount = amount + 0.00 WHERE id = %(draw_id)s",
               {"amounts_sane": {"draw {draw_id} of user {user_id}"}}),
    Corruption("a return with a trailing zero", _RETURN,
               "UPDATE credit_lot_returns SET amount = amount + 0.00 WHERE id = %(piece_id)s",
               {"amounts_sane": {VERSION}}),
    Corruption("a hold with a trailing zero", _HOLD,
               "ALTER TABLE credit_holds DROP CONSTRAINT credit_holds_amount;"
               "UPDATE credit_holds SET amount = amount + 0.00 WHERE id = %(id)s",
               {"amounts_sane": {HOLD}, "guards_in_place": {"table credit_holds"}}),
    Corruption("more reasoning than output", _OLD_EVENT,
               "ALTER TABLE credit_usage_events DROP CONSTRAINT credit_usage_events_tokens;"
               "UPDATE credit_usage_events SET reasoning_tokens = output_tokens + 1 WHERE id = %(id)s",
               {"amounts_sane": {EVENT}, "guards_in_place": {"table credit_usage_events"}}),
    Corruption("fewer tokens than none", _OLD_EVENT,
               "ALTER TABLE credit_usage_events DROP CONSTRAINT credit_usage_events_tokens;"
               "UPDATE credit_usage_events SET cache_write_tokens = -1 WHERE id = %(id)s",
               {"amounts_sane": {EVENT}, "guards_in_place": {"table credit_usage_events"}}),
    Corruption("more tokens than can be", _OLD_EVENT,
               "ALTER TABLE credit_usage_events DROP CONSTRAINT credit_usage_events_tokens;"
               "UPDATE credit_usage_events SET input_tokens = 1000000001 WHERE id = %(id)s",
               {"amounts_sane": {EVENT}, "guards_in_place": {"table credit_usage_events"}}),
    Corruption("a voided event happened at another time", _VOIDED_EVENT,
               "UPDATE voided_credit_usage_events SET created_at = created_at - interval '1 hour' WHERE id = %(id)s",
               {"event_times": {EVENT}}),
    Corruption("a voided event pins a price", _VOIDED_EVENT,
               "UPDATE voided_credit_usage_events SET price_id = 1 WHERE id = %(id)s", {"prices_pinned": {EVENT}}),
    Corruption("more cached tokens than tokens", _OLD_EVENT,
               "ALTER TABLE credit_usage_events DROP CONSTRAINT credit_usage_events_tokens;"
               "UPDATE credit_usage_events SET cache_read_tokens = input_tokens + 1 WHERE id = %(id)s",
               {"amounts_sane": {EVENT}, "guards_in_place": {"table credit_usage_events"}}),
    Corruption("a lot holds more than it was", _SCHEDULED,
               "ALTER TABLE credit_lots DROP CONSTRAINT credit_lots_remaining;"
               "UPDATE credit_lots SET remaining = amount + 1 WHERE user_id = %(user_id)s AND id = %(id)s",
               {"amounts_sane": {LOT}, "lot_accounts": {LOT}, "guards_in_place": {"table credit_lots"}}),
    Corruption("an event happened at another time", _OLD_EVENT,
               "UPDATE credit_usage_events SET created_at = created_at - interval '1 hour' WHERE id = %(id)s",
               {"event_times": {EVENT}, "rollups_by_hour": {HOUR, OTHER_HOUR}, "rollups_by_user": {USER_DAY}}),
    Corruption("an event happened after it was booked", _OLD_EVENT,
               "UPDATE credit_usage_events SET occurred_at_given = true, created_at = created_at + interval '6 minutes'"
               " WHERE id = %(id)s", {"event_times": {EVENT}, "rollups_by_user": {USER_DAY}}),
    Corruption("another multiplier", _OLD_EVENT, "UPDATE credit_usage_events SET multiplier = 2 WHERE id = %(id)s",
               {"cost_validation": {EVENT}}),
    Corruption("another cost of a voided event", _VOIDED_EVENT,
               "UPDATE voided_credit_usage_events SET api_cost = 7 WHERE id = %(id)s", {"cost_validation": {EVENT}}),
    Corruption("no cost", _OLD_EVENT, "UPDATE credit_usage_events SET api_cost = NULL WHERE id = %(id)s",
               {"cost_validation": {EVENT}, **ROLLED_UP}),
    Corruption("a price that is not there", _MODEL_EVENT,
               "UPDATE credit_usage_events SET price_id = 0 WHERE id = %(id)s", {"prices_pinned": {EVENT}}),
    Corruption("a price that was not needed", _OLD_EVENT,
               "UPDATE credit_usage_events SET price_id = (SELECT max(id) FROM price_versions) WHERE id = %(id)s",
               {"prices_pinned": {EVENT}}),
    Corruption("other rates than those that were charged", _MODEL_EVENT,
               """UPDATE price_versions SET rates = '{"input": 1, "output": 2.5}' WHERE name = 'lamp'""",
               {"prices_pinned": {EVENT}}),
    Corruption("a price from later on", _MODEL_EVENT,
               "UPDATE price_versions SET valid_from = now() WHERE name = 'lamp'", {"prices_pinned": {EVENT}}),
    Corruption("other tokens than those that were charged", _MODEL_EVENT,
               "UPDATE credit_usage_events SET output_tokens = output_tokens + 1 WHERE id = %(id)s",
               {"prices_pinned": {EVENT}}),
    Corruption("another quantity than the one that was charged", _UNIT_EVENT,
               "UPDATE credit_usage_events SET quantity = 3 WHERE id = %(id)s", {"prices_pinned": {EVENT}}),
    Corruption("an event without a price that was not free", _OLD_EVENT,
               "UPDATE credit_usage_events SET cost_source = 'unpriced' WHERE id = %(id)s",
               {"prices_pinned": {EVENT}, "no_unpriced_event": {"model (none)"}}),
    Corruption("an event without a price", _FREE_EVENT,
               "UPDATE credit_usage_events SET cost_source = 'unpriced' WHERE id = %(id)s",
               {"no_unpriced_event": {"model (none)"}}),
    # --- sums
    Corruption("credits from nowhere", _ANN,
               "UPDATE user_credit_balances SET current_balance = current_balance + 1 WHERE user_id = %(user_id)s",
               {"ledger_equals_balance": {USER}, "lots_equal_balance": {USER}}),
    Corruption("a dearer event", _OLD_EVENT,
               "UPDATE credit_usage_events SET credits_charged = credits_charged + 1, api_cost = api_cost + 0.1"
               " WHERE id = %(id)s", {**_SUMS, **ROLLED_UP, "balance_chain": {VERSION}}),
    Corruption("a dearer event of this period", _NEW_EVENT,
               "UPDATE credit_usage_events SET credits_charged = credits_charged + 1, api_cost = api_cost + 0.1"
               " WHERE id = %(id)s", {**_SUMS, **ROLLED_UP, "month_consumed": {USER}, "balance_chain": {VERSION}}),
    Corruption("an event is gone", _OLD_EVENT, "DELETE FROM credit_usage_events WHERE id = %(id)s",
               {**_SUMS, **ROLLED_UP, "balance_chain": {NEXT}}),
    Corruption("an event is there twice", _OLD_EVENT,
               "CREATE TEMPORARY TABLE copy ON COMMIT DROP AS SELECT * FROM credit_usage_events WHERE id = %(id)s;"
               "UPDATE copy SET id = 0, idempotency_key = 'copy'; INSERT INTO credit_usage_events SELECT * FROM copy",
               {**_SUMS, **ROLLED_UP, "balance_chain": {VERSION}}),
    Corruption("another total", _ANN,
               "UPDATE user_credit_balances SET total_consumed = total_consumed + 1 WHERE user_id = %(user_id)s",
               {"total_consumed": {USER}}),
    Corruption("another total of voids", _ANN,
               "UPDATE user_credit_balances SET total_voided = total_voided + 1 WHERE user_id = %(user_id)s",
               {"total_consumed": {USER}}),
    Corruption("another time of the last event", _OPEN_DAY,
               "UPDATE user_credit_balances SET last_event_at = NULL WHERE user_id = %(user_id)s",
               {"total_consumed": {USER}, "rollups_by_user": {USER_DAY}}),
    Corruption("another sum of this period", _ANN,
               "UPDATE user_credit_balances SET current_month_consumed = current_month_consumed + 1"
               " WHERE user_id = %(user_id)s", {"month_consumed": {USER}}),
    Corruption("another balance after an event", _OLD_EVENT,
               "UPDATE credit_usage_events SET balance_after = balance_after + 1 WHERE id = %(id)s",
               {"balance_chain": {VERSION, NEXT}}),
    Corruption("another balance after a void", _VOIDED_EVENT,
               "UPDATE voided_credit_usage_events SET void_balance_after = void_balance_after + 1 WHERE id = %(id)s",
               {"balance_chain": {"version {void_version} of user {user_id}",
                                  "version {next_void} of user {user_id}"}}),
    Corruption("a version is left out", _ANN,
               "UPDATE user_credit_balances SET version = version + 1 WHERE user_id = %(user_id)s",
               {"balance_chain": {USER}}),
    Corruption("a booking of the future", _ANN,
               "UPDATE user_credit_balances SET last_recorded_at = last_recorded_at - interval '1 microsecond'"
               " WHERE user_id = %(user_id)s", {"balance_chain": {USER}}),
    Corruption("an event was booked earlier", _MUCH_OLDER_EVENT,
               "UPDATE credit_usage_events SET recorded_at = recorded_at - interval '30 days',"
               " occurred_at_given = true,"
               " created_at = created_at - interval '30 days' WHERE id = %(id)s",
               {"balance_chain": {VERSION}, "rollups_by_hour": {HOUR, OTHER_HOUR}, "rollups_by_day": {DAY, OTHER_DAY},
                "rollups_by_user": {USER_DAY, OTHER_USER_DAY}}),
    # --- entries, refunds, voids
    Corruption("an entry that names no lot", _RESET,
               "UPDATE credit_ledger_entries SET lot_id = NULL WHERE user_id = %(user_id)s AND version = %(version)s",
               {"entries_explained": {VERSION, LOT}}),
    Corruption("a refund of an event that is not there", _REFUND,
               "UPDATE credit_ledger_entries SET event_id = 0 WHERE user_id = %(user_id)s AND version = %(version)s",
               {"entries_explained": {VERSION}, "returns_explained": {VERSION}, "audited": {USER}, **REFUND_ROLLED_UP}),
    Corruption("a lot that ended at another time", _EXPIRED,
               "UPDATE credit_lots SET expires_at = expires_at - interval '1 second' WHERE id = %(id)s",
               {"entries_explained": {VERSION}}),
    Corruption("a lot of another size", _LOT,
               "UPDATE credit_lots SET amount = amount + 5, remaining = remaining + 5 WHERE id = %(id)s",
               {"entries_explained": {VERSION}, "lots_equal_balance": {USER}, "operations_done": {LOT}}),
    Corruption("a lot that nothing brought in", _SCHEDULED,
               "UPDATE credit_lots SET version = 1, starts_at = now() - interval '1 hour' WHERE id = %(id)s",
               {"entries_explained": {LOT}, "lots_equal_balance": {USER}, "draws_cover": {USER}}),
    Corruption("a refund of more than was charged", _REFUND,
               "UPDATE credit_ledger_entries SET event_id = %(id)s WHERE user_id = %(user_id)s AND version ="
               " %(version)s",
               {"refunds_within_charge": {EVENT}, "returns_explained": {VERSION}, "audited": {USER},
                "rollups_by_hour": {HOUR, OTHER_HOUR}, "rollups_by_day": {DAY, OTHER_DAY}}),
    Corruption("a voided event is an event again", _VOIDED_EVENT,
               "INSERT INTO credit_usage_events SELECT (json_populate_record(NULL::credit_usage_events,"
               " to_json(voided))).*"
               " FROM voided_credit_usage_events AS voided WHERE id = %(id)s",
               {**_SUMS, **ROLLED_UP, "voids_consistent": {EVENT}, "keys_unique": {USER}, "balance_chain": {VERSION}}),
    Corruption("a void is gone", _LAST_VOID, "DELETE FROM voided_credit_usage_events WHERE id = %(id)s",
               {"total_consumed": {USER}, "lots_equal_balance": {USER}, "balance_chain": {USER}, "audited": {USER},
                "returns_explained": {VERSION}, "operations_done": {VERSION}}),
    Corruption("a refund of nothing", _REFUND,
               "UPDATE credit_ledger_entries SET event_id = NULL WHERE user_id = %(user_id)s AND version = %(version)s",
               {"entries_explained": {VERSION}, "returns_explained": {VERSION}, "audited": {USER}, **REFUND_ROLLED_UP}),
    Corruption("an adjustment of an event", _LESS,
               "UPDATE credit_ledger_entries SET event_id = 1 WHERE user_id = %(user_id)s AND version = %(version)s",
               {"entries_explained": {VERSION}, "audited": {USER}}),
    Corruption("credits taken from one lot", _LESS,
               "UPDATE credit_ledger_entries SET lot_id = 1 WHERE user_id = %(user_id)s AND version = %(version)s",
               {"entries_explained": {VERSION}}),
    Corruption("an entry of a lot that is not there", _RESET,
               "UPDATE credit_ledger_entries SET lot_id = 0 WHERE user_id = %(user_id)s AND version = %(version)s",
               {"entries_explained": {VERSION, LOT}, "draws_cover": {USER}}),
    Corruption("a refund of a voided event", _REFUND_BESIDE_A_VOID,
               "UPDATE credit_ledger_entries SET event_id = %(id)s"
               " WHERE user_id = %(user_id)s AND version = %(version)s",
               {"voids_consistent": {EVENT}, "returns_explained": {VERSION}, "audited": {USER}, **REFUND_ROLLED_UP}),
    Corruption("a first lot of another size than what was there before", _FIRST_LOT,
               "UPDATE credit_lots SET amount = amount + 1 WHERE id = %(id)s",
               {"entries_explained": {LOT}, "lot_accounts": {LOT}, "draws_cover": {USER}}),
    # --- lots
    Corruption("a lot has less left", _LOT, "UPDATE credit_lots SET remaining = remaining - 1 WHERE id = %(id)s",
               {"lot_accounts": {LOT}, "lots_equal_balance": {USER}}),
    Corruption("credits of one lot are in another", _LOT,
               "UPDATE credit_lots SET remaining = remaining + CASE id WHEN %(id)s THEN -1 ELSE 1 END"
               " WHERE id IN (%(id)s, %(other_id)s)", {"lot_accounts": {LOT, OTHER_LOT}}),
    Corruption("a draw is gone", _DRAW, "DELETE FROM credit_lot_draws WHERE id = %(draw_id)s",
               {"lot_accounts": {LOT}, "draws_cover": {USER}}),
    Corruption("a draw stands elsewhere", _DRAW,
               "UPDATE credit_lot_draws SET first_credit = first_credit + 1 WHERE id = %(draw_id)s",
               {"draws_cover": {USER}}),
    Corruption("another lot paid", _DRAW,
               "UPDATE credit_lot_draws SET lot_id = %(other_id)s WHERE id = %(draw_id)s",
               {"lot_accounts": {LOT, OTHER_LOT}}),
    Corruption("nobody paid", _DRAW, "UPDATE credit_lot_draws SET lot_id = NULL WHERE id = %(draw_id)s",
               {"lot_accounts": {LOT}, "lots_equal_balance": {USER}}),
    Corruption("a lot paid that is not there", _DRAW,
               "UPDATE credit_lot_draws SET lot_id = 0 WHERE id = %(draw_id)s",
               {"lot_accounts": {LOT, "lot 0 of user {user_id}"}}),
    Corruption("a greater debt", _DEBT, "UPDATE credit_lot_draws SET amount = amount + 1 WHERE id = %(draw_id)s",
               {"draws_cover": {USER}, "lots_equal_balance": {USER}}),
    Corruption("more was allocated", _ANN,
               "UPDATE user_credit_balances SET allocated = allocated + 1 WHERE user_id = %(user_id)s",
               {"draws_cover": {USER}, "lots_equal_balance": {USER}}),
    Corruption("what was given back is not told", _RETURN, "DELETE FROM credit_lot_returns WHERE id = %(piece_id)s",
               {"returns_explained": {VERSION}, "lot_accounts": {LOT}}),
    Corruption("other credits were given back", _RETURN,
               "UPDATE credit_lot_returns SET first_credit = first_credit - 1 WHERE id = %(piece_id)s",
               {"returns_explained": {VERSION}}),
    Corruption("it was given back to another lot", _RETURN,
               "UPDATE credit_lot_returns SET returned_to = (SELECT max(id) FROM credit_lots WHERE user_id ="
               " %(user_id)s"
               " AND kind = 'purchase') WHERE id = %(piece_id)s",
               {"returns_to_lots": {VERSION}, "lot_accounts": {LOT}}),
    Corruption("it was given back to nobody", _RETURN,
               "UPDATE credit_lot_returns SET returned_to = NULL WHERE id = %(piece_id)s",
               {"returns_to_lots": {VERSION}, "lot_accounts": {LOT}}),
    Corruption("it was drawn from another lot", _REFUND_LOT,
               "UPDATE credit_lot_returns SET drawn_from = (SELECT max(id) FROM credit_lots WHERE user_id = %(user_id)s"
               " AND kind = 'purchase') WHERE user_id = %(user_id)s AND version = %(version)s",
               {"returns_to_lots": {VERSION}}),
    Corruption("a refund's lot of another priority", _REFUND_LOT,
               "UPDATE credit_lots SET priority = 99 WHERE id = %(id)s", {"returns_to_lots": {VERSION}}),
    Corruption("a refund's lot of another cost", _REFUND_LOT,
               "UPDATE credit_lots SET cost_basis = 1 WHERE id = %(id)s", {"returns_to_lots": {VERSION}}),
    Corruption("a refund's lot of 29 days", _REFUND_LOT,
               "UPDATE credit_lots SET expires_at = starts_at + interval '29 days' WHERE id = %(id)s",
               {"returns_to_lots": {VERSION}}),
    Corruption("an expired lot got something back", _REFUND_LOT,
               "UPDATE credit_lot_returns SET returned_to = drawn_from"
               " WHERE user_id = %(user_id)s AND version = %(version)s",
               {"returns_to_lots": {VERSION, LOT}, "lot_accounts": {OTHER_LOT}}),
    Corruption("a void's lot of another priority", _VOID_LOT,
               "UPDATE credit_lots SET priority = 99 WHERE id = %(id)s", {"returns_to_lots": {VERSION}}),
    Corruption("a refund's lot of another size", _REFUND_LOT,
               "UPDATE credit_lots SET amount = amount + 1 WHERE id = %(id)s",
               {"returns_to_lots": {LOT}, "lot_accounts": {LOT}}),
    Corruption("undone debt is not told", _DEBT_UNDONE, "DELETE FROM credit_lot_returns WHERE id = %(piece_id)s",
               {"returns_explained": {VERSION}, "draws_cover": {USER}}),
    # --- time
    Corruption("a lot is there after its end", _LOT,
               "UPDATE credit_lots AS lot SET expires_at = last_recorded_at FROM user_credit_balances cb"
               " WHERE lot.id = %(id)s AND cb.user_id = %(user_id)s",
               {"lots_in_time": {LOT}, "next_boundary": {USER}}),
    Corruption("an expired lot paid for what came after it", _LATE_DRAW,
               "UPDATE credit_lot_draws SET lot_id = %(id)s WHERE id = %(draw_id)s",
               {"lot_accounts": {LOT, OTHER_LOT}, "lots_in_time": {LOT}}),
    Corruption("a lot does not start", _SCHEDULED,
               "UPDATE credit_lots SET starts_at = now() - interval '10 minutes' WHERE id = %(id)s",
               {"lots_in_time": {LOT}, "next_boundary": {USER}}),
    Corruption("a lot counts before its start", _LOT,
               "UPDATE credit_lots SET starts_at = now() + interval '1 hour' WHERE id = %(id)s",
               {"lots_in_time": {LOT}, "entries_explained": {VERSION}}),
    Corruption("a boundary is passed over", _LOT,
               "UPDATE credit_lots SET expires_at = now() + interval '1 second' WHERE id = %(id)s",
               {"next_boundary": {USER}}),
    Corruption("a boundary too many", _ANN,
               "UPDATE user_credit_balances SET next_boundary_at = next_boundary_at - interval '1 second'"
               " WHERE user_id = %(user_id)s", {"next_boundary": {USER}}),
    Corruption("a reset is overdue", _ANN,
               "UPDATE user_credit_balances SET next_boundary_at = now() - interval '6 minutes' WHERE user_id ="
               " %(user_id)s",
               {"no_overdue_reset": {USER}, "next_boundary": {USER}}),
    Corruption("a reset never comes", _PERIOD,
               "UPDATE user_credit_balances SET next_reset_at = next_reset_at + interval '1 year' WHERE user_id"
               " = %(user_id)s",
               {"periods_sane": {USER, LOT}}),
    Corruption("a period of a week", _PERIOD,
               "UPDATE user_credit_balances SET period_start = next_reset_at - interval '7 days' WHERE user_id"
               " = %(user_id)s",
               {"periods_sane": {USER}}),
    Corruption("an allowance twice", _RESET,
               "DROP INDEX credit_ledger_entries_period_key;"
               "UPDATE credit_ledger_entries SET period_start = %(period_start)s"
               " WHERE user_id = %(user_id)s AND version = %(version)s",
               {"periods_sane": {USER, VERSION}, "guards_in_place": {"table credit_ledger_entries"}}),
    Corruption("an allowance outlives its period", _PERIOD,
               "UPDATE credit_lots SET expires_at = NULL WHERE id = %(id)s", {"periods_sane": {LOT}}),
    # --- holds and keys
    Corruption("a capture is undone", _CAPTURE,
               "UPDATE credit_holds SET state = 'released', released_at = captured_at, event_id = NULL,"
               " captured_at = NULL"
               " WHERE id = %(id)s", {"holds_resolved": {HOLD}}),
    Corruption("an event does not name its hold", _CAPTURE,
               "UPDATE credit_usage_events SET hold_id = NULL WHERE id = %(event_id)s", {"holds_resolved": {HOLD}}),
    Corruption("a hold has two events", _CAPTURE,
               "UPDATE credit_usage_events SET hold_id = %(id)s WHERE user_id = %(user_id)s AND idempotency_key"
               " = 'present 1'",
               {"holds_resolved": {HOLD}}),
    Corruption("a hold that is not there was captured", _CAPTURE,
               "UPDATE credit_usage_events SET hold_id = 0 WHERE user_id = %(user_id)s AND idempotency_key ="
               " 'present 1'",
               {"holds_resolved": {"hold 0 of user {user_id}"}}),
    Corruption("a hold was captured at another time", _CAPTURE,
               "UPDATE credit_holds SET captured_at = captured_at + interval '1 second' WHERE id = %(id)s",
               {"holds_resolved": {HOLD}}),
    Corruption("a hold was captured by another event", _CAPTURE,
               "UPDATE credit_holds SET event_id = 0 WHERE id = %(id)s", {"holds_resolved": {HOLD}}),
    Corruption("a captured hold is gone", _CAPTURE, "DELETE FROM credit_holds WHERE id = %(id)s",
               {"holds_resolved": {HOLD}, "operations_done": {HOLD}}),
    Corruption("a hold under another key", _HOLD,
               "UPDATE credit_holds SET idempotency_key = 'other' WHERE id = %(id)s", {"operations_done": {HOLD}}),
    Corruption("a hold for a month", _HOLD,
               "ALTER TABLE credit_holds DROP CONSTRAINT credit_holds_life;"
               "UPDATE credit_holds SET expires_at = expires_at + interval '1 month' WHERE id = %(id)s;"
               "UPDATE user_credit_balances SET held_until = held_until + interval '1 month' WHERE user_id ="
               " %(user_id)s",
               {"holds_resolved": {HOLD}, "guards_in_place": {"table credit_holds"}}),
    Corruption("a hold is not counted", _HOLD,
               "UPDATE user_credit_balances SET held_until = NULL WHERE user_id = %(user_id)s",
               {"holds_counted": {HOLD}}),
    Corruption("a hold stays open", "SELECT user_id, id FROM credit_holds WHERE idempotency_key = 'hold 6'",
               "UPDATE credit_holds SET state = 'open' WHERE id = %(id)s", {"no_hold_past_life": {HOLD}}),
    Corruption("a hold without a key", _HOLD,
               "DELETE FROM credit_operations WHERE user_id = %(user_id)s AND idempotency_key = %(idempotency_key)s",
               {"operations_done": {HOLD}}),
    Corruption("a key stands twice", _ANN,
               "INSERT INTO credit_operations SELECT user_id, 'much', 'allowance', '{}', '{}', now()"
               " FROM user_credit_balances WHERE user_id = %(user_id)s;"
               "INSERT INTO audit_log (recorded_at, actor, act, user_id) VALUES (now(), 'x', 'terms', %(user_id)s)",
               {"keys_unique": {USER}}),
    Corruption("keys are not looked for", _ANN,
               "UPDATE user_credit_balances SET has_operations = false WHERE user_id = %(user_id)s",
               {"keys_unique": {USER}}),
    Corruption("a raised allowance is not in the audit log",
               "SELECT user_id FROM user_credit_balances WHERE user_id = %(bob)s",
               "DELETE FROM audit_log WHERE user_id = %(user_id)s AND act = 'terms'", {"audited": {USER}}),
    Corruption("an answer of another amount", _GRANT,
               """UPDATE credit_operations SET answer = answer || '{"amount": 7}'"""
               " WHERE user_id = %(user_id)s AND idempotency_key = 'bought'", {"operations_done": {LOT}}),
    Corruption("a grant is gone, its answer is not", _SCHEDULED, "DELETE FROM credit_lots WHERE id = %(id)s",
               {"operations_done": {LOT}, "audited": {USER}}),
    Corruption("an act is not in the audit log", _ANN,
               "DELETE FROM audit_log WHERE id = (SELECT min(id) FROM audit_log WHERE user_id = %(user_id)s"
               " AND act = 'refund')", {"audited": {USER}}),
    Corruption("an act in the audit log that was none", _ANN,
               "INSERT INTO audit_log (recorded_at, actor, act, user_id) VALUES (now(), 'x', 'void', %(user_id)s)",
               {"audited": {USER}}),
    # --- roll-ups
    Corruption("an hour has more credits", _AN_HOUR,
               "UPDATE usage_hourly SET credits = credits + 1 WHERE ctid = %(place)s::tid",
               {"rollups_by_hour": {HOUR}}),
    Corruption("an hour has fewer refunds", _AN_HOUR,
               "UPDATE usage_hourly SET refunded = -1 WHERE ctid = %(place)s::tid", {"rollups_by_hour": {HOUR}}),
    Corruption("an hour is gone", _AN_HOUR, "DELETE FROM usage_hourly WHERE ctid = %(place)s::tid",
               {"rollups_by_hour": {HOUR}}),
    Corruption("an hour without events", _AN_HOUR,
               "INSERT INTO usage_hourly SELECT hour, 'nothing', model_used, slot, events, credits, api_cost FROM"
               " usage_hourly WHERE ctid = %(place)s::tid", {"rollups_by_hour": {HOUR}}),
    Corruption("a day has more events", _A_DAY,
               "UPDATE usage_daily SET events = events + 1 WHERE ctid = %(place)s::tid", {"rollups_by_day": {DAY}}),
    Corruption("a day cost less", _A_DAY,
               "UPDATE usage_daily SET api_cost = api_cost - 1 WHERE ctid = %(place)s::tid", {"rollups_by_day": {DAY}}),
    Corruption("a day is gone", _A_DAY, "DELETE FROM usage_daily WHERE ctid = %(place)s::tid",
               {"rollups_by_day": {DAY}}),
    Corruption("a day has one more user", _A_DAY,
               "INSERT INTO usage_daily_users SELECT day, 17, 1 FROM usage_daily WHERE ctid = %(place)s::tid",
               {"rollups_by_day": {DAY}}),
    Corruption("a user's day is gone", _A_USERS_DAY,
               "DELETE FROM user_daily WHERE user_id = %(user_id)s AND day = %(created_at)s",
               {"rollups_by_user": {USER_DAY}}),
    Corruption("a user's day ended earlier", _A_USERS_DAY,
               "UPDATE user_daily SET last_at = last_at - interval '1 second' WHERE user_id = %(user_id)s"
               " AND day = %(created_at)s", {"rollups_by_user": {USER_DAY}}),
    Corruption("a user's day without events", _A_USERS_DAY,
               "INSERT INTO user_daily VALUES (%(user_id)s, %(created_at)s::date - 3000, 1, 0, 0, now())",
               {"rollups_by_user": {OTHER_USER_DAY}}),
    Corruption("a user's day has other actions", _A_USERS_DAY,
               "UPDATE user_daily SET actions = '{}' WHERE user_id = %(user_id)s AND day = %(created_at)s",
               {"rollups_by_user": {USER_DAY}}),
    Corruption("a user's newest day has fewer credits", _OPEN_DAY,
               "UPDATE user_credit_balances SET open_credits = open_credits - 1 WHERE user_id = %(user_id)s",
               {"rollups_by_user": {USER_DAY}}),
    Corruption("a user's newest day is closed too", _OPEN_DAY,
               "INSERT INTO user_daily SELECT user_id, open_day, open_events, open_credits, open_api_cost,"
               " last_event_at FROM user_credit_balances WHERE user_id = %(user_id)s", {"rollups_by_user": {USER}}),
    Corruption("a bound below what was consumed", _OPEN_DAY,
               "UPDATE user_credit_balances SET closed_previous_credits = -1 WHERE user_id = %(user_id)s",
               {"rollups_by_user": {USER}}),
    Corruption("bounds of another month", _OPEN_DAY,
               "UPDATE user_credit_balances SET closed_month = closed_month - 1 WHERE user_id = %(user_id)s",
               {"rollups_by_user": {USER}}),
    # --- the schema and the server
    Corruption("a trigger is off", _ANN,
               "ALTER TABLE credit_usage_events DISABLE TRIGGER credit_usage_events_immutable",
               {"guards_in_place": {"table credit_usage_events"}}),
    Corruption("a trigger is gone", _ANN, "DROP TRIGGER audit_log_immutable ON audit_log",
               {"guards_in_place": {"table audit_log"}}),
    Corruption("a trigger does nothing", _ANN,
               "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
               "CREATE OR REPLACE TRIGGER credit_lots_booked BEFORE DELETE ON credit_lots EXECUTE FUNCTION nothing()",
               {"guards_in_place": {"table credit_lots"}}),
    Corruption("a key may be null", _ANN, "ALTER TABLE credit_usage_events ALTER COLUMN idempotency_key DROP NOT NULL",
               {"guards_in_place": {"table credit_usage_events"}}),
    Corruption("no trigger fires", _ANN, "SET LOCAL session_replication_role = 'local'",
               {"guards_in_place": {"session_replication_role"}}),
    Corruption("commits are not waited for", _ANN, "SET LOCAL synchronous_commit = off",
               {"durable": {"synchronous_commit"}}),
    Corruption("nothing is charged any more", _ANN,
               "UPDATE credit_usage_events SET occurred_at_given = true, created_at = created_at - interval '1 year';"
               "UPDATE user_credit_balances SET last_event_at = last_event_at - interval '1 year';"
               "SELECT rebuild_rollups()",
               {"tracking_alive": {"the ledger"}}),
]  # fmt: skip
