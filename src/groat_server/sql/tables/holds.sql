-- The newest :limit holds placed from :since until before :until (null: no bound), of user :user_id or (null) of all, as of now.
SELECT id, created_at, user_id, email, state, amount, expires_at, captured_at, released_at, event_id, action_type, model,
    description
FROM v_holds
WHERE (CAST(:user_id AS bigint) IS NULL OR user_id = CAST(:user_id AS bigint))
    AND (CAST(:since AS timestamptz) IS NULL OR created_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR created_at < CAST(:until AS timestamptz))
ORDER BY created_at DESC, user_id, id DESC
LIMIT :limit
