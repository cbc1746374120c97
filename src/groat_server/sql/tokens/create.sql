-- One new token; only its hash is stored. No row: its user was anonymised.
WITH token AS (
    INSERT INTO access_tokens (user_id, name, prefix, token_hash, scopes, expires_at)
    SELECT CAST(:user_id AS bigint), :name, :prefix, CAST(:token_hash AS bytea), CAST(:scopes AS text[]),
        CAST(:expires_at AS timestamptz)
    WHERE NOT EXISTS (SELECT FROM users WHERE id = CAST(:user_id AS bigint) AND anonymised_at IS NOT NULL)
    RETURNING *
)
SELECT token.id, token.user_id, users.email, token.name, token.prefix, token.scopes, token.created_at, token.expires_at,
    CASE WHEN token.revoked_at IS NULL AND token.expires_at IS NOT NULL
        THEN greatest(0, floor(extract(epoch FROM token.expires_at - now()) / 86400))::integer
    END AS expires_in_days,
    token.last_used_at, token.revoked_at, token.replaced_by
FROM token LEFT JOIN users ON users.id = token.user_id
