-- The ledger in four figures:  psql $DATABASE_URL < check_credits.sql
WITH events AS (
    SELECT
        count(*) AS total,
        round(coalesce(sum(credits_charged), 0), 2) AS credits,
        count(DISTINCT user_id) FILTER (WHERE created_at > now() - interval '30 days') AS active_users
    FROM credit_usage_events
), balances AS (
    SELECT count(*) AS total FROM user_credit_balances
)
SELECT figure.metric, figure.value
FROM events
CROSS JOIN balances
CROSS JOIN LATERAL (
    VALUES
        (1, 'Total Events', events.total::text),
        (2, 'Total Credits Consumed', events.credits::text),
        (3, 'Active Users', events.active_users::text),
        (4, 'Users with Balance', balances.total::text)
) AS figure (place, metric, value)
ORDER BY figure.place;
