-- The same of the user of most events. PostgreSQL does not see that the join keeps an order, and sorts all of them.
SELECT event.created_at, event.action_type, event.credits_charged, event.description, event.input_tokens,
    event.output_tokens, event.model_used
FROM credit_usage_events AS event
JOIN users AS person ON person.id = event.user_id
WHERE person.email = 'user000001@example.com'
ORDER BY event.created_at DESC
LIMIT 20
