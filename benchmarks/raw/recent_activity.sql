-- The guide's newest fifty.
SELECT person.email, event.action_type, event.credits_charged, event.description, event.created_at
FROM credit_usage_events AS event
JOIN users AS person ON person.id = event.user_id
ORDER BY event.created_at DESC
LIMIT 50
