-- One new token; only its hash is stored.
WITH token AS (
    INSERT INTO access_tokens (user_id, name, prefix, token_hash, scopes, expires_at)
    VALUES (:user_id, :name, :prefix, :token_hash, CAST(:scopes AS text[]), :expires_at)
    RETURNING *
)
SELECT token.id, token.user_id, users.email, token.name, token.prefix, token.scopes, token.created_at, token.expires_at,
    token.last_used_at, token.revoked_at
FROM token LEFT JOIN users ON users.id = token.user_id
