-- total_consumed is the sum of all events.
SELECT 'user ' || cb.user_id AS subject,
    'total_consumed ' || cb.total_consumed || ', events ' || coalesce(events.credits, 0) AS finding
FROM user_credit_balances cb
LEFT JOIN (SELECT user_id, sum(credits_charged) AS credits FROM credit_usage_events GROUP BY user_id) AS events
    ON events.user_id = cb.user_id
WHERE cb.total_consumed <> coalesce(events.credits, 0)
ORDER BY cb.user_id
