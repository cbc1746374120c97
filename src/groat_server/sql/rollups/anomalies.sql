-- The report of the same name from the roll-ups: what is before the last 24 hours is added up for those alone who used a credit
-- in them.
WITH edge AS (
    SELECT COALESCE(CAST(:as_of AS timestamptz), now()) - interval '24 hours' AS today_since
), today AS MATERIALIZED (
    SELECT consumer.user_id, consumer.credits
    FROM edge
    CROSS JOIN LATERAL usage_of_users_since(
        ARRAY(SELECT account.user_id FROM user_credit_balances AS account WHERE account.last_event_at > edge.today_since),
        edge.today_since
    ) AS consumer
    WHERE consumer.credits >= 1
), used AS (
    SELECT today.user_id, today.credits AS today, both_parts.credits - today.credits AS before
    FROM edge
    CROSS JOIN LATERAL usage_of_users_since(
        ARRAY(SELECT today.user_id FROM today), edge.today_since - interval '672 hours'
    ) AS both_parts
    JOIN today ON today.user_id = both_parts.user_id
)
SELECT
    used.user_id,
    users.email,
    users.full_name,
    trim_scale(used.today) AS credits_today,
    trim_scale(ROUND(ROUND(used.before, 24) / 28, 12)) AS daily_mean,
    trim_scale(ROUND(ROUND(used.today, 24) * 28 / NULLIF(used.before, 0), 2)) AS ratio
FROM used
JOIN users ON users.id = used.user_id
WHERE used.today >= 1 AND used.today * 28 > used.before * CAST(:factor AS integer) AND users.anonymised_at IS NULL
ORDER BY used.today DESC, used.user_id
LIMIT :limit
