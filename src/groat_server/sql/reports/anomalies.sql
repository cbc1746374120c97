-- The :limit users who used most of those who in the last 24 hours before :as_of (null: now) used at least one credit, and more
-- than :factor times what they used a day in the 28 days before; ratio is null where that was nothing. What happened after
-- :as_of counts too. Anonymised users are left out.
WITH edge AS (
    SELECT COALESCE(CAST(:as_of AS timestamptz), now()) - interval '24 hours' AS today_since
), used AS (
    SELECT
        ce.user_id,
        COALESCE(SUM(ce.credits_charged) FILTER (WHERE ce.created_at > edge.today_since), 0) AS today,
        COALESCE(SUM(ce.credits_charged) FILTER (WHERE ce.created_at <= edge.today_since), 0) AS before
    FROM edge
    JOIN credit_usage_events ce ON ce.created_at > edge.today_since - interval '672 hours'
    GROUP BY ce.user_id
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
