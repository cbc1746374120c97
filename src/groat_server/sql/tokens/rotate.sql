-- Makes a token with the name, scopes and holder of another, which then works for some hours more, if it would have.
-- The new one lives as long as the old one was to; null days: the same again. No row: there is no such token that works
-- and was not rotated before.
WITH old AS (
    SELECT * FROM access_tokens
    WHERE id = CAST(:token_id AS bigint) AND revoked_at IS NULL AND replaced_by IS NULL
        AND (expires_at IS NULL OR expires_at > now())
    FOR UPDATE
),
token AS (
    INSERT INTO access_tokens (user_id, name, prefix, token_hash, scopes, expires_at)
    SELECT user_id, name, :prefix, CAST(:token_hash AS bytea), scopes,
        now() + coalesce(make_interval(days => CAST(:lifetime_days AS integer)), expires_at - created_at)
    FROM old
    RETURNING *
),
replaced AS (
    UPDATE access_tokens
    SET expires_at = least(old.expires_at, now() + make_interval(hours => CAST(:grace_hours AS integer))),
        replaced_by = token.id
    FROM old CROSS JOIN token
    WHERE access_tokens.id = old.id
)
SELECT token.id, token.user_id, users.email, token.name, token.prefix, token.scopes, token.created_at, token.expires_at,
    CASE WHEN token.revoked_at IS NULL AND token.expires_at IS NOT NULL
        THEN greatest(0, floor(extract(epoch FROM token.expires_at - now()) / 86400))::integer
    END AS expires_in_days,
    token.last_used_at, token.revoked_at, token.replaced_by
FROM token LEFT JOIN users ON users.id = token.user_id
