-- The report of the same name from the roll-ups: whole days (UTC) where they are asked for, and hours for what is left of the
-- window. Where a user is named or users are told apart, usage_of_users is run in its place.
WITH ends AS (
    SELECT date_trunc(
        'hour',
        coalesce(CAST(:until AS timestamptz), date_trunc('hour', now(), 'UTC') + interval '1 hour')
            + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS until
), edges AS (
    SELECT ends.until, date_trunc(
        'hour',
        coalesce(
            CAST(:since AS timestamptz),
            (
                date_trunc('day', (ends.until - interval '1 hour') AT TIME ZONE CAST(:time_zone AS text))
                - make_interval(days => CASE CAST(:bucket AS text) WHEN 'hour' THEN 1 ELSE 29 END)
            ) AT TIME ZONE CAST(:time_zone AS text)
        ) + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS since
    FROM ends
), whole AS (
    -- The whole days (UTC) of the window, whose sums stand in one place: none where the rows are of something else.
    SELECT CASE WHEN are_asked_for AND since < until THEN since ELSE window_end END AS since,
        CASE WHEN are_asked_for AND since < until THEN until ELSE window_end END AS until
    FROM (
        SELECT edges.until AS window_end,
            date_trunc('day', edges.since + interval '23 hours', 'UTC') AS since,
            date_trunc('day', edges.until, 'UTC') AS until,
            CAST(:bucket AS text) = 'all'
                OR CAST(:bucket AS text) = 'day' AND CAST(:time_zone AS text) IN ('UTC', 'Etc/UTC') AS are_asked_for
        FROM edges
    ) AS days
), part AS (
    SELECT CAST(daily.day AS timestamp) AT TIME ZONE 'UTC' AS hour, daily.action_type, daily.model_used, daily.events,
        daily.credits, daily.api_cost, daily.refunded
    FROM usage_daily AS daily
    WHERE daily.day >= (SELECT CAST(since AT TIME ZONE 'UTC' AS date) FROM whole)
        AND daily.day < (SELECT CAST(until AT TIME ZONE 'UTC' AS date) FROM whole)
    UNION ALL
    SELECT hourly.hour, hourly.action_type, hourly.model_used, hourly.events, hourly.credits, hourly.api_cost,
        hourly.refunded
    FROM usage_hourly AS hourly
    WHERE hourly.hour >= (SELECT since FROM edges) AND hourly.hour < (SELECT since FROM whole)
    UNION ALL
    SELECT hourly.hour, hourly.action_type, hourly.model_used, hourly.events, hourly.credits, hourly.api_cost,
        hourly.refunded
    FROM usage_hourly AS hourly
    WHERE hourly.hour >= (SELECT until FROM whole) AND hourly.hour < (SELECT until FROM edges)
), used AS (
    SELECT
        CASE CAST(:bucket AS text)
            WHEN 'hour' THEN part.hour
            WHEN 'day' THEN date_trunc('day', part.hour, CAST(:time_zone AS text))
            ELSE (SELECT since FROM edges)
        END AS bucket,
        0 AS user_id,
        CASE CAST(:group AS text)
            WHEN 'action' THEN part.action_type WHEN 'model' THEN COALESCE(part.model_used, '') ELSE ''
        END AS name,
        SUM(part.events) AS events,
        SUM(part.credits) AS credits,
        SUM(part.refunded) AS refunded,
        SUM(part.api_cost) AS api_cost
    FROM part
    WHERE (CAST(:action_type AS text) IS NULL OR part.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR part.model_used = CAST(:model AS text))
    GROUP BY 1, 2, 3
    HAVING SUM(part.events) > 0
), ranked AS (
    SELECT user_id, name,
        LEAST(
            ROW_NUMBER() OVER (ORDER BY SUM(credits) DESC, user_id, name COLLATE "C"), CAST(:series AS bigint) + 1
        ) AS place
    FROM used
    GROUP BY user_id, name
)
SELECT
    used.bucket,
    CASE WHEN ranked.place <= CAST(:series AS bigint) THEN COALESCE(users.email, NULLIF(used.name, '')) END AS series,
    ranked.place > CAST(:series AS bigint) AS is_other,
    CAST(SUM(used.events) AS bigint) AS events,
    trim_scale(SUM(used.credits)) AS credits,
    trim_scale(SUM(used.refunded)) AS refunded_credits,
    trim_scale(SUM(used.credits) - SUM(used.refunded)) AS net_credits,
    trim_scale(SUM(used.api_cost)) AS api_cost_dollars
FROM used
JOIN ranked ON ranked.user_id = used.user_id AND ranked.name = used.name
LEFT JOIN users ON users.id = used.user_id AND ranked.place <= CAST(:series AS bigint)
GROUP BY 1, 2, 3, ranked.place
ORDER BY used.bucket, ranked.place
