-- One row for each UTC day that the last :days days before :as_of (null: now) touch, empty days included.
WITH recent AS (
    SELECT CAST(created_at AT TIME ZONE 'UTC' AS date) AS day, user_id, credits_charged
    FROM credit_usage_events
    WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
), bounds AS (
    SELECT
        CAST((now.instant - make_interval(days => CAST(:days AS integer))) AT TIME ZONE 'UTC' AS date) AS first_day,
        GREATEST(CAST(now.instant AT TIME ZONE 'UTC' AS date), (SELECT MAX(day) FROM recent)) AS last_day
    FROM (SELECT coalesce(CAST(:as_of AS timestamptz), now()) AS instant) AS now
), days AS (
    SELECT CAST(generate_series(first_day, last_day, interval '1 day') AS date) AS day FROM bounds
)
SELECT
    days.day AS date,
    COUNT(recent.user_id) AS events,
    COALESCE(trim_scale(SUM(recent.credits_charged)), 0) AS total_credits,
    COUNT(DISTINCT recent.user_id) AS unique_users
FROM days
LEFT JOIN recent ON recent.day = days.day
GROUP BY days.day
ORDER BY days.day
