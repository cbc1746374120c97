-- The report of the same name from the roll-ups: whole days (UTC), and hours for what is left of each period. Users are looked
-- up: who was active within a period was so last in it, or after it, and then one look into the index tells. Of one action
-- type or model they are counted among the events of the hours that have any. Where a user is named, usage_totals_of_user is
-- run in its place.
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
                - interval '29 days'
            ) AT TIME ZONE CAST(:time_zone AS text)
        ) + interval '59 minutes 59.999999 seconds',
        'UTC'
    ) AS since
    FROM ends
), periods AS (
    SELECT 1 AS place, 'current' AS period, since, until FROM edges
    UNION ALL
    SELECT 2, 'previous', since - (until - since), since FROM edges
), whole AS (
    -- The whole days (UTC) of each period.
    SELECT period, CASE WHEN first < last THEN first ELSE until END AS since,
        CASE WHEN first < last THEN last ELSE until END AS until
    FROM (
        SELECT *, date_trunc('day', since + interval '23 hours', 'UTC') AS first, date_trunc('day', until, 'UTC') AS last
        FROM periods
    ) AS days
), part AS (
    SELECT whole.period, daily.action_type, daily.model_used, daily.events, daily.credits, daily.api_cost, daily.refunded
    FROM whole
    JOIN usage_daily AS daily
        ON daily.day >= CAST(whole.since AT TIME ZONE 'UTC' AS date)
        AND daily.day < CAST(whole.until AT TIME ZONE 'UTC' AS date)
    UNION ALL
    SELECT pieces.period, hourly.action_type, hourly.model_used, hourly.events, hourly.credits, hourly.api_cost,
        hourly.refunded
    FROM (
        SELECT periods.period, periods.since, whole.since AS until FROM periods JOIN whole USING (period)
        UNION ALL
        SELECT periods.period, whole.until, periods.until FROM periods JOIN whole USING (period)
    ) AS pieces
    JOIN usage_hourly AS hourly ON hourly.hour >= pieces.since AND hourly.hour < pieces.until
), used_hours AS (
    SELECT periods.period, hourly.hour
    FROM periods
    JOIN usage_hourly AS hourly ON hourly.hour >= periods.since AND hourly.hour < periods.until
    WHERE (CAST(:action_type AS text) IS NULL OR hourly.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR hourly.model_used = CAST(:model AS text))
        AND (CAST(:action_type AS text) IS NOT NULL OR CAST(:model AS text) IS NOT NULL)
    GROUP BY periods.period, hourly.hour
    HAVING SUM(hourly.events) > 0
), active AS MATERIALIZED (
    SELECT used_hours.period, COUNT(DISTINCT event.user_id) AS users
    FROM used_hours
    CROSS JOIN LATERAL (
        SELECT DISTINCT event.user_id
        FROM credit_usage_events AS event
        WHERE event.created_at >= used_hours.hour AND event.created_at < used_hours.hour + interval '1 hour'
            AND (CAST(:action_type AS text) IS NULL OR event.action_type = CAST(:action_type AS text))
            AND (CAST(:model AS text) IS NULL OR event.model_used = CAST(:model AS text))
    ) AS event
    GROUP BY used_hours.period
    UNION ALL
    SELECT periods.period, COUNT(*)
    FROM periods
    JOIN user_credit_balances AS account ON account.last_event_at >= periods.since
    CROSS JOIN LATERAL (
        SELECT 1 AS found WHERE account.last_event_at < periods.until
        UNION ALL
        SELECT found FROM (
            SELECT 1 AS found
            FROM credit_usage_events AS event
            WHERE account.last_event_at >= periods.until AND event.user_id = account.user_id
                AND event.created_at >= periods.since AND event.created_at < periods.until
            LIMIT 1
        ) AS earlier
    ) AS seen
    WHERE CAST(:action_type AS text) IS NULL AND CAST(:model AS text) IS NULL
    GROUP BY periods.period
)
SELECT
    periods.period,
    CAST(COALESCE(SUM(part.events), 0) AS bigint) AS events,
    COALESCE(trim_scale(SUM(part.credits)), 0) AS credits,
    COALESCE(trim_scale(SUM(part.refunded)), 0) AS refunded_credits,
    COALESCE(trim_scale(SUM(part.credits) - SUM(part.refunded)), 0) AS net_credits,
    COALESCE(trim_scale(SUM(part.api_cost)), 0) AS api_cost_dollars,
    COALESCE(active.users, 0) AS active_users
FROM periods
LEFT JOIN active ON active.period = periods.period
LEFT JOIN part
    ON part.period = periods.period
    AND (CAST(:action_type AS text) IS NULL OR part.action_type = CAST(:action_type AS text))
    AND (CAST(:model AS text) IS NULL OR part.model_used = CAST(:model AS text))
GROUP BY periods.place, periods.period, active.users
ORDER BY periods.place
