-- The guide's last twenty of one user, busier than 99 of 100.
SELECT event.created_at, event.action_type, event.credits_charged, event.description, event.input_tokens,
    event.output_tokens, event.model_used
FROM credit_usage_events AS event
JOIN users AS person ON person.id = event.user_id
WHERE person.email = 'user001000@example.com'
ORDER BY event.created_at DESC
LIMIT 20
