-- The :limit most expensive events of more than one credit.
SELECT ce.id, u.email, ce.action_type, ce.credits_charged AS credits, ce.description, ce.model_used AS model,
    ce.created_at AS timestamp
FROM credit_usage_events ce
JOIN users u ON u.id = ce.user_id
WHERE ce.credits_charged > 1.0
ORDER BY ce.credits_charged DESC, ce.id DESC
LIMIT :limit
