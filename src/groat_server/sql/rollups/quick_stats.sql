-- The report of the same name from the roll-ups: users are active whose newest event is in the window.
WITH used AS (
    SELECT COALESCE(SUM(events), 0) AS events, COALESCE(trim_scale(SUM(credits)), 0) AS credits FROM usage_daily
), accounts AS (
    SELECT COUNT(*) AS number, COUNT(*) FILTER (
        WHERE last_event_at > coalesce(CAST(:as_of AS timestamptz), now()) - interval '30 days'
    ) AS active
    FROM user_credit_balances
)
SELECT metric, value
FROM (
    SELECT 1 AS place, 'Total Events' AS metric, used.events::text AS value FROM used
    UNION ALL
    SELECT 2, 'Total Credits Consumed', used.credits::text FROM used
    UNION ALL
    SELECT 3, 'Active Users', accounts.active::text FROM accounts
    UNION ALL
    SELECT 4, 'Users with Balance', accounts.number::text FROM accounts
) AS figures
ORDER BY place
