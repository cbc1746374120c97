-- Ends a session from the next request on; with a user, only a session of that user. No row: there is no such session.
UPDATE dashboard_sessions SET ended_at = coalesce(ended_at, now())
WHERE id = :session_id AND (CAST(:user_id AS bigint) IS NULL OR user_id = CAST(:user_id AS bigint))
RETURNING id AS session_id
