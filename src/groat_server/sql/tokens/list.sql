-- Tokens, newest first, of one user or of all, all or those that work; or the one of an id.
-- `expires_in_days`: whole days that a token still works.
SELECT token.id, token.user_id, users.email, token.name, token.prefix, token.scopes, token.created_at, token.expires_at,
    CASE WHEN token.revoked_at IS NULL AND token.expires_at IS NOT NULL
        THEN greatest(0, floor(extract(epoch FROM token.expires_at - now()) / 86400))::integer
    END AS expires_in_days,
    token.last_used_at, token.revoked_at, token.replaced_by
FROM access_tokens AS token LEFT JOIN users ON users.id = token.user_id
WHERE (CAST(:user_id AS bigint) IS NULL OR token.user_id = CAST(:user_id AS bigint))
    AND (CAST(:token_id AS bigint) IS NULL OR token.id = CAST(:token_id AS bigint))
    AND (
        NOT CAST(:only_working AS boolean)
        OR (token.revoked_at IS NULL AND (token.expires_at IS NULL OR token.expires_at > now()))
    )
ORDER BY token.id DESC
LIMIT :limit
