-- Corrects a balance upwards or downwards, for a stated reason, once under its key.
SELECT outcome, replayed, recorded_at, version, event_id, lot_id, kind, amount, priority, cost_basis, starts_at, expires_at,
    balance, held, available, next_reset_at
FROM adjust_credits(
    CAST(:user_id AS bigint), CAST(:key AS text), CAST(:amount AS numeric), CAST(:expires_at AS timestamptz),
    CAST(:reason AS text), CAST(:actor AS text)
)
