-- Begins a session of a user, or of a service's token; it ends after :hours hours at the latest.
INSERT INTO dashboard_sessions (session_hash, user_id, token_id, user_agent, expires_at)
VALUES (
    CAST(:session_hash AS bytea), CAST(:user_id AS bigint), CAST(:token_id AS bigint), :user_agent,
    now() + make_interval(hours => CAST(:hours AS integer))
)
RETURNING id AS session_id
