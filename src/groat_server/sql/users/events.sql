-- One user's events, newest first, before a cursor.
SELECT id, created_at AS timestamp, recorded_at, action_type, credits_charged AS credits, description,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, quantity,
    model_used AS model, provider, balance_after, session_id
FROM credit_usage_events
WHERE user_id = :user_id
    AND (
        CAST(:before AS timestamptz) IS NULL
        OR (created_at, id) < (CAST(:before AS timestamptz), CAST(:before_id AS bigint))
    )
ORDER BY created_at DESC, id DESC
LIMIT :limit
