-- A user's key stands once, for ever: on an event, a voided event or an operation; and has_operations says where
-- charges must look for it.
SELECT 'user ' || user_id AS subject, 'has the key ' || idempotency_key || ' ' || count(*) || ' times' AS finding
FROM (
    SELECT user_id, idempotency_key FROM credit_usage_events
    UNION ALL
    SELECT user_id, idempotency_key FROM voided_credit_usage_events
    UNION ALL
    SELECT user_id, idempotency_key FROM credit_operations
) AS keys
GROUP BY user_id, idempotency_key
HAVING count(*) > 1
UNION ALL
SELECT 'user ' || user_id, 'has keys that charges do not look for'
FROM user_credit_balances cb
WHERE NOT has_operations AND (
    EXISTS (SELECT FROM credit_operations AS operation WHERE operation.user_id = cb.user_id)
    OR EXISTS (SELECT FROM voided_credit_usage_events AS voided WHERE voided.user_id = cb.user_id)
)
