-- The newest :limit events of user :user_id within the last :days days before :as_of (null: now).
SELECT id, created_at AS timestamp, recorded_at, action_type, credits_charged AS credits, description,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, quantity,
    model_used AS model, provider, balance_after, session_id
FROM credit_usage_events
WHERE user_id = :user_id
    AND created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
ORDER BY created_at DESC, id DESC
LIMIT :limit
