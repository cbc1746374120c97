-- The newest :limit events of all users.
SELECT ce.id, u.email, ce.action_type, ce.credits_charged AS credits, ce.description, ce.model_used AS model,
    ce.created_at AS timestamp
FROM credit_usage_events ce
JOIN users u ON u.id = ce.user_id
ORDER BY ce.created_at DESC, ce.id DESC
LIMIT :limit
