-- Events from :since until before :until (null: no bound), newest first, :limit at a time; only those of :action_type, :model
-- and :user_id, where those are given. Voided events are none. The next page begins after the last row's timestamp and id.
SELECT ce.id, ce.created_at AS timestamp, ce.recorded_at, ce.user_id, u.email, ce.action_type, ce.model_used AS model,
    ce.provider, ce.input_tokens, ce.output_tokens, ce.quantity, ce.api_cost, ce.credits_charged AS credits,
    ce.cost_source, ce.balance_after, ce.description
FROM credit_usage_events ce
JOIN users u ON u.id = ce.user_id
WHERE ce.created_at >= COALESCE(CAST(:since AS timestamptz), '-infinity')
    AND ce.created_at < COALESCE(CAST(:until AS timestamptz), 'infinity')
    AND (CAST(:action_type AS text) IS NULL OR ce.action_type = CAST(:action_type AS text))
    AND (CAST(:model AS text) IS NULL OR ce.model_used = CAST(:model AS text))
    AND (CAST(:user_id AS bigint) IS NULL OR ce.user_id = CAST(:user_id AS bigint))
    AND ce.created_at <= COALESCE(CAST(:after_timestamp AS timestamptz), 'infinity')
    AND (
        CAST(:after_timestamp AS timestamptz) IS NULL
        OR (ce.created_at, ce.id) < (CAST(:after_timestamp AS timestamptz), CAST(:after_id AS bigint))
    )
ORDER BY ce.created_at DESC, ce.id DESC
LIMIT :limit
