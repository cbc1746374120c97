-- One event of a user, standing or voided, with everything that it was charged by, and the hold that it captured.
SELECT event.id, event.created_at, event.recorded_at, event.version, event.action_type, event.model_used AS model,
    event.provider, event.input_tokens, event.output_tokens, event.cache_read_tokens, event.cache_write_tokens,
    event.reasoning_tokens, event.quantity, event.credits_charged, event.api_cost, event.credits_per_dollar,
    event.multiplier, event.cost_source, event.price_id, event.balance_after, event.available_after,
    event.description, event.session_id, event.metadata, event.idempotency_key, event.voided_at, event.void_reason,
    event.voided_by, event.hold_id, hold.amount AS hold_amount,
    hold.captured_at >= hold.expires_at OR hold.released_at IS NOT NULL AS late_capture
FROM (
    SELECT id, created_at, recorded_at, version, action_type, model_used, provider, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, reasoning_tokens, quantity, credits_charged, api_cost,
        credits_per_dollar, multiplier, cost_source, price_id, balance_after, available_after, description,
        session_id, metadata, idempotency_key, CAST(NULL AS timestamptz) AS voided_at,
        CAST(NULL AS text) AS void_reason,
        CAST(NULL AS text) AS voided_by, hold_id
    FROM credit_usage_events
    WHERE user_id = :user_id AND id = :event_id
    UNION ALL
    SELECT id, created_at, recorded_at, version, action_type, model_used, provider, input_tokens, output_tokens,
        cache_read_tokens, cache_write_tokens, reasoning_tokens, quantity, credits_charged, api_cost,
        credits_per_dollar, multiplier, cost_source, price_id, balance_after, available_after, description,
        session_id, metadata, idempotency_key, voided_at, void_reason, voided_by, hold_id
    FROM voided_credit_usage_events
    WHERE user_id = :user_id AND id = :event_id
) AS event
LEFT JOIN credit_holds AS hold ON hold.user_id = :user_id AND hold.id = event.hold_id
