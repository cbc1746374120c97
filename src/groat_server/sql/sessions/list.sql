-- The newest sessions that have not ended.
SELECT session.id, session.user_id, users.email, session.token_id, token.name AS token_name, session.user_agent,
    session.created_at, session.last_seen_at, session.expires_at
FROM dashboard_sessions AS session
LEFT JOIN users ON users.id = session.user_id
LEFT JOIN access_tokens AS token ON token.id = session.token_id
WHERE session.ended_at IS NULL
    AND session.expires_at > now()
    AND session.last_seen_at > now() - make_interval(mins => CAST(:idle_minutes AS integer))
ORDER BY session.id DESC
LIMIT :limit
