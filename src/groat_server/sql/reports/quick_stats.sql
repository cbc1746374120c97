-- Four figures of the whole ledger.
SELECT 'Total Events' AS metric, COUNT(*)::text AS value FROM credit_usage_events
UNION ALL
SELECT 'Total Credits Consumed', COALESCE(trim_scale(SUM(credits_charged)), 0)::text FROM credit_usage_events
UNION ALL
SELECT 'Active Users', COUNT(DISTINCT user_id)::text FROM credit_usage_events
WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - interval '30 days'
UNION ALL
SELECT 'Users with Balance', COUNT(*)::text FROM user_credit_balances
