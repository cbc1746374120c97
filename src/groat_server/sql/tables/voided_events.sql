-- The newest :limit events that were voided from :since until before :until (null: no bound), of user :user_id or (null) of all.
SELECT event.id, event.voided_at, event.user_id, users.email, event.created_at, event.recorded_at, event.action_type,
    event.model_used AS model, event.credits_charged AS credits, event.api_cost AS api_cost_dollars, event.cost_source,
    event.description, event.session_id, CAST(event.metadata AS text) AS metadata, event.idempotency_key,
    event.void_reason AS reason, event.voided_by AS actor
FROM voided_credit_usage_events AS event
LEFT JOIN users ON users.id = event.user_id
WHERE (CAST(:user_id AS bigint) IS NULL OR event.user_id = CAST(:user_id AS bigint))
    AND (CAST(:since AS timestamptz) IS NULL OR event.voided_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR event.voided_at < CAST(:until AS timestamptz))
ORDER BY event.voided_at DESC, event.user_id, event.void_version DESC
LIMIT :limit
