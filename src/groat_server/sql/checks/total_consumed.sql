-- total_consumed and total_voided are the sums of all events and of all voided ones; last_event_at is the newest
-- event's.
SELECT 'user ' || cb.user_id AS subject,
    CASE
        WHEN cb.total_consumed <> coalesce(events.credits, 0)
            THEN 'total_consumed ' || cb.total_consumed || ', events ' || coalesce(events.credits, 0)
        WHEN cb.total_voided <> coalesce(voided.credits, 0)
            THEN 'total_voided ' || cb.total_voided || ', voided events ' || coalesce(voided.credits, 0)
        ELSE 'last_event_at ' || coalesce(CAST(cb.last_event_at AS text), 'null') || ', the newest event '
            || coalesce(CAST(events.newest AS text), 'null')
    END AS finding
FROM user_credit_balances cb
LEFT JOIN (
    SELECT user_id, sum(credits_charged) AS credits, max(created_at) AS newest FROM credit_usage_events GROUP BY user_id
) AS events ON events.user_id = cb.user_id
LEFT JOIN (
    SELECT user_id, sum(credits_charged) AS credits FROM voided_credit_usage_events GROUP BY user_id
) AS voided ON voided.user_id = cb.user_id
WHERE cb.total_consumed <> coalesce(events.credits, 0)
    OR cb.total_voided <> coalesce(voided.credits, 0)
    OR cb.last_event_at IS DISTINCT FROM events.newest
ORDER BY cb.user_id
