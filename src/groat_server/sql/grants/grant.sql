-- Gives a user credits, now or from an instant on, once under its key: see definitions/grants.sql.
SELECT outcome, replayed, recorded_at, version, event_id, lot_id, kind, amount, priority, cost_basis, starts_at, expires_at,
    balance, held, available, next_reset_at
FROM grant_credits(
    CAST(:user_id AS bigint), CAST(:key AS text), CAST(:kind AS text), CAST(:amount AS numeric),
    CAST(:priority AS integer), CAST(:cost_basis AS numeric), CAST(:starts_at AS timestamptz),
    CAST(:expires_at AS timestamptz), CAST(:reason AS text), CAST(:actor AS text)
)
