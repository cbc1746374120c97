-- Takes a token away from the next request on. No row: there is no such token.
UPDATE access_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = :token_id RETURNING user_id
