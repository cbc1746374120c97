-- Who is signed in, with the rights of this moment. No row: the session is unknown, has ended, expired or was idle for
-- :idle_minutes minutes; or the token that it was begun with works no more, or its user was anonymised.
SELECT session.id AS session_id, session.user_id, session.token_id, users.email, token.name AS token_name,
    coalesce(users.is_admin, false) AS is_admin,
    CASE WHEN session.user_id IS NULL THEN token.scopes ELSE CAST('{}' AS text[]) END AS scopes,
    session.last_seen_at < now() - interval '1 minute' AS is_stale
FROM dashboard_sessions AS session
LEFT JOIN users ON users.id = session.user_id
LEFT JOIN access_tokens AS token ON token.id = session.token_id
WHERE session.session_hash = :session_hash
    AND session.ended_at IS NULL
    AND session.expires_at > now()
    AND session.last_seen_at > now() - make_interval(mins => CAST(:idle_minutes AS integer))
    AND users.anonymised_at IS NULL
    AND (
        session.token_id IS NULL
        OR (token.revoked_at IS NULL AND (token.expires_at IS NULL OR token.expires_at > now()))
    )
