-- Ends a hold that is not captured; what it set aside is available again.
SELECT outcome, replayed, hold_id, state, amount, starts_at AS created_at, expires_at, balance, held, available,
    next_reset_at
FROM release_hold(CAST(:user_id AS bigint), CAST(:hold_id AS bigint))
