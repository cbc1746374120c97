-- Sets credits aside, once under its key, refused where what is available does not suffice: see definitions/holds.sql.
SELECT outcome, replayed, hold_id, state, amount, recorded_at AS created_at, expires_at, balance, held, available,
    next_reset_at
FROM place_hold(
    CAST(:user_id AS bigint), CAST(:key AS text), CAST(:amount AS numeric), CAST(:seconds AS integer),
    CAST(:action_type AS text), CAST(:model AS text), CAST(:description AS text), CAST(:content AS jsonb)
)
