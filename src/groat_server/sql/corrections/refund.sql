-- Gives back what an event has cost, or a part of it, once under its key: see definitions/corrections.sql.
SELECT outcome, replayed, recorded_at, version, event_id, lot_id, kind, amount, priority, cost_basis, starts_at, expires_at,
    balance, held, available, next_reset_at
FROM refund_event(
    CAST(:user_id AS bigint), CAST(:key AS text), CAST(:event_id AS bigint), CAST(:amount AS numeric),
    CAST(:reason AS text), CAST(:actor AS text)
)
