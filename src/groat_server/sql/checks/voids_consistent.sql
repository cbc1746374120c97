-- A voided event is no event any more, was never refunded, and was voided after it was booked.
SELECT 'event ' || voided.id || ' of user ' || voided.user_id AS subject,
    CASE
        WHEN event.id IS NOT NULL THEN 'was voided and is there still'
        WHEN refund.event_id IS NOT NULL THEN 'was voided and has refunds'
        ELSE 'was voided as version ' || voided.void_version || ' before it was booked as ' || voided.version
    END AS finding
FROM voided_credit_usage_events AS voided
LEFT JOIN credit_usage_events AS event ON event.user_id = voided.user_id AND event.id = voided.id
LEFT JOIN (
    SELECT DISTINCT user_id, event_id FROM credit_ledger_entries WHERE kind = 'refund'
) AS refund ON refund.user_id = voided.user_id AND refund.event_id = voided.id
WHERE event.id IS NOT NULL OR refund.event_id IS NOT NULL OR voided.void_version <= voided.version
ORDER BY voided.user_id, voided.id
