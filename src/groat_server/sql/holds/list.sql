-- One user's holds as of now, newest first, before a cursor; with a state, those in that state.
SELECT id, user_id, state, amount, created_at, expires_at, released_at, captured_at, event_id, action_type, model,
    description
FROM (
    SELECT id, user_id, CASE WHEN state = 'open' AND expires_at <= now() THEN 'expired' ELSE state END AS state,
        amount, created_at, expires_at, released_at, captured_at, event_id, action_type, model, description
    FROM credit_holds
    WHERE user_id = :user_id
) AS hold
WHERE (CAST(:before_id AS bigint) IS NULL OR id < CAST(:before_id AS bigint))
    AND (CAST(:state AS text) IS NULL OR state = CAST(:state AS text))
ORDER BY id DESC
LIMIT :limit
