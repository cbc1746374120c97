-- The newest :limit events of all users within the last :days days before :as_of (null: now), with all that priced them.
SELECT ce.id, ce.created_at AS timestamp, ce.recorded_at, ce.user_id, u.email, ce.action_type, ce.model_used AS model,
    ce.provider, ce.input_tokens, ce.output_tokens, ce.cache_read_tokens, ce.cache_write_tokens, ce.reasoning_tokens,
    ce.quantity, ce.api_cost, ce.credits_per_dollar, ce.multiplier, ce.credits_charged AS credits, ce.cost_source,
    ce.balance_after, ce.description, ce.session_id, ce.idempotency_key
FROM credit_usage_events ce
JOIN users u ON u.id = ce.user_id
WHERE ce.created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
ORDER BY ce.created_at DESC, ce.id DESC
LIMIT :limit
