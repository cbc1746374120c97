-- No event was refunded more than it was charged.
SELECT 'event ' || event.id || ' of user ' || event.user_id AS subject,
    'was charged ' || event.credits_charged || ' and refunded ' || refunded.amount AS finding
FROM (
    SELECT user_id, event_id, sum(amount) AS amount FROM credit_ledger_entries
    WHERE kind = 'refund' GROUP BY user_id, event_id
) AS refunded
JOIN credit_usage_events AS event ON event.user_id = refunded.user_id AND event.id = refunded.event_id
WHERE refunded.amount > event.credits_charged
ORDER BY event.user_id, event.id
