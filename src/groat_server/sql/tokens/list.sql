-- Tokens, newest first, of one user or of all.
SELECT token.id, token.user_id, users.email, token.name, token.prefix, token.scopes, token.created_at, token.expires_at,
    token.last_used_at, token.revoked_at
FROM access_tokens AS token LEFT JOIN users ON users.id = token.user_id
WHERE CAST(:user_id AS bigint) IS NULL OR token.user_id = CAST(:user_id AS bigint)
ORDER BY token.id DESC
LIMIT :limit
