-- Takes an event that should not have been out of the books, once under its key.
SELECT outcome, replayed, recorded_at, version, event_id, lot_id, kind, amount, priority, cost_basis, starts_at, expires_at,
    balance, held, available, next_reset_at
FROM void_event(
    CAST(:user_id AS bigint), CAST(:key AS text), CAST(:event_id AS bigint), CAST(:reason AS text),
    CAST(:actor AS text)
)
