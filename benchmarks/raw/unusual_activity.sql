-- The guide's dearest twenty.
SELECT person.email, event.action_type, event.credits_charged, event.description, event.created_at
FROM credit_usage_events AS event
JOIN users AS person ON person.id = event.user_id
WHERE event.credits_charged > 1.0
ORDER BY event.credits_charged DESC
LIMIT 20
