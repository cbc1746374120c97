-- Lets an open hold last so many seconds from now, if that is longer.
SELECT outcome, replayed, hold_id, state, amount, starts_at AS created_at, expires_at, balance, held, available,
    next_reset_at
FROM renew_hold(CAST(:user_id AS bigint), CAST(:hold_id AS bigint), CAST(:seconds AS integer))
