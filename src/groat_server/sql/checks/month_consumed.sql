-- current_month_consumed is the sum of the events booked since the period began.
SELECT 'user ' || cb.user_id AS subject,
    'current_month_consumed ' || cb.current_month_consumed || ', events since ' || cb.period_start || ': '
        || coalesce(booked.credits, 0) AS finding
FROM user_credit_balances cb
LEFT JOIN (
    SELECT ce.user_id, sum(ce.credits_charged) AS credits
    FROM credit_usage_events ce
    JOIN user_credit_balances cb ON cb.user_id = ce.user_id AND ce.recorded_at >= cb.period_start
    GROUP BY ce.user_id
) AS booked ON booked.user_id = cb.user_id
WHERE cb.current_month_consumed <> coalesce(booked.credits, 0)
ORDER BY cb.user_id
