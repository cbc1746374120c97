-- The same as docs/guide.md has it.
SELECT event.created_at, event.action_type, event.credits_charged, event.description, event.input_tokens,
    event.output_tokens, event.model_used
FROM credit_usage_events AS event
WHERE event.user_id = (SELECT id FROM users WHERE email = 'user000001@example.com')
ORDER BY event.created_at DESC, event.id DESC
LIMIT 20
