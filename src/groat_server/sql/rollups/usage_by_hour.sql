-- The report of the same name from the roll-ups: by the hour, and of the first hour what is left of it.
WITH edge AS (
    SELECT now.instant - make_interval(days => CAST(:days AS integer)) AS since,
        date_trunc('hour', now.instant - make_interval(days => CAST(:days AS integer)), 'UTC') AS first_hour,
        date_trunc('hour', now.instant, 'UTC') AS present_hour
    FROM (SELECT coalesce(CAST(:as_of AS timestamptz), now()) AS instant) AS now
), used AS (
    SELECT part.hour, CAST(SUM(part.events) AS bigint) AS events, SUM(part.credits) AS credits,
        SUM(part.api_cost) AS api_cost
    FROM (
        SELECT hourly.hour, hourly.events, hourly.credits, hourly.api_cost
        FROM usage_hourly AS hourly
        WHERE hourly.hour > (SELECT first_hour FROM edge)
        UNION ALL
        SELECT edge.first_hour, 1, event.credits_charged, event.api_cost
        FROM edge
        JOIN credit_usage_events AS event
            ON event.created_at > edge.since AND event.created_at < edge.first_hour + interval '1 hour'
    ) AS part
    GROUP BY part.hour
    HAVING SUM(part.events) > 0
), hours AS (
    SELECT generate_series(
        edge.first_hour, GREATEST(edge.present_hour, (SELECT MAX(hour) FROM used)), interval '1 hour'
    ) AS hour
    FROM edge
)
SELECT
    hours.hour,
    COALESCE(used.events, 0) AS events,
    COALESCE(trim_scale(used.credits), 0) AS total_credits,
    COALESCE(trim_scale(used.api_cost), 0) AS total_api_cost_dollars
FROM hours
LEFT JOIN used ON used.hour = hours.hour
ORDER BY hours.hour
