-- One row for each hour (UTC) that the last :days days before :as_of (null: now) touch, empty hours included.
WITH recent AS (
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, credits_charged, api_cost
    FROM credit_usage_events
    WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
), bounds AS (
    SELECT
        date_trunc('hour', now.instant - make_interval(days => CAST(:days AS integer)), 'UTC') AS first_hour,
        GREATEST(date_trunc('hour', now.instant, 'UTC'), (SELECT MAX(hour) FROM recent)) AS last_hour
    FROM (SELECT coalesce(CAST(:as_of AS timestamptz), now()) AS instant) AS now
), hours AS (
    SELECT generate_series(first_hour, last_hour, interval '1 hour') AS hour FROM bounds
)
SELECT
    hours.hour,
    COUNT(recent.hour) AS events,
    COALESCE(trim_scale(SUM(recent.credits_charged)), 0) AS total_credits,
    COALESCE(trim_scale(SUM(recent.api_cost)), 0) AS total_api_cost_dollars
FROM hours
LEFT JOIN recent ON recent.hour = hours.hour
GROUP BY hours.hour
ORDER BY hours.hour
