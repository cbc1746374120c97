-- Four figures of the whole ledger.
SELECT metric, value
FROM (
    SELECT 1 AS place, 'Total Events' AS metric, COUNT(*)::text AS value FROM credit_usage_events
    UNION ALL
    SELECT 2, 'Total Credits Consumed', COALESCE(trim_scale(SUM(credits_charged)), 0)::text FROM credit_usage_events
    UNION ALL
    SELECT 3, 'Active Users', COUNT(DISTINCT user_id)::text FROM credit_usage_events
    WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - interval '30 days'
    UNION ALL
    SELECT 4, 'Users with Balance', COUNT(*)::text FROM user_credit_balances
) AS figures
ORDER BY place
