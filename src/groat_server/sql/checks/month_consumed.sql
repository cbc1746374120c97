-- current_month_consumed is the sum of the events booked since the period began.
SELECT 'user ' || cb.user_id AS subject,
    'current_month_consumed ' || cb.current_month_consumed || ', events since ' || cb.period_start || ': '
        || coalesce(sum(ce.credits_charged), 0) AS finding
FROM user_credit_balances cb
LEFT JOIN credit_usage_events ce ON ce.user_id = cb.user_id AND ce.recorded_at >= cb.period_start
GROUP BY cb.user_id
HAVING cb.current_month_consumed <> coalesce(sum(ce.credits_charged), 0)
ORDER BY cb.user_id
