-- Notes that a session is in use, at most once a minute.
UPDATE dashboard_sessions SET last_seen_at = now() WHERE id = :session_id RETURNING id AS session_id
