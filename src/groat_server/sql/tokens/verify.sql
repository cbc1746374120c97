-- Whether callers may still do what they were let in for: token and admin flag by which each was judged. One row an input
-- row, in order: false for a token that was revoked, has expired or lost its user, and for another flag.
SELECT coalesce(token.id IS NOT NULL AND coalesce(users.is_admin, false) = asked.is_admin, false) AS holds
FROM unnest(CAST(:token_ids AS bigint[]), CAST(:admins AS boolean[])) WITH ORDINALITY
    AS asked(token_id, is_admin, ordinal)
LEFT JOIN (access_tokens AS token LEFT JOIN users ON users.id = token.user_id)
    ON token.id = asked.token_id
    AND token.revoked_at IS NULL
    AND users.anonymised_at IS NULL
    AND (token.expires_at IS NULL OR token.expires_at > now())
ORDER BY asked.ordinal
