-- The newest :limit tokens, without their secrets; user_id is null where a service has one.
SELECT token.id, token.user_id, users.email, token.name, token.prefix, array_to_string(token.scopes, ' ') AS scopes,
    token.created_at, token.expires_at, token.last_used_at, token.revoked_at, token.replaced_by
FROM access_tokens AS token
LEFT JOIN users ON users.id = token.user_id
ORDER BY token.id DESC
LIMIT :limit
