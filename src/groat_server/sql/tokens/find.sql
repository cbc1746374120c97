-- Whom a token stands for, with the admin flag as it is now. No row: unknown, expired or
-- revoked, or its user was anonymised.
SELECT token.id AS token_id, token.user_id, coalesce(users.is_admin, false) AS is_admin, token.scopes,
    token.last_used_at IS NULL OR token.last_used_at < now() - interval '1 minute' AS is_stale
FROM access_tokens AS token LEFT JOIN users ON users.id = token.user_id
WHERE token.token_hash = :token_hash
    AND token.revoked_at IS NULL
    AND users.anonymised_at IS NULL
    AND (token.expires_at IS NULL OR token.expires_at > now())
