-- Notes that a token is in use, at most once a minute.
UPDATE access_tokens SET last_used_at = now() WHERE id = :token_id RETURNING user_id
