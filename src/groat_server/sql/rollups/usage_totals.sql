-- The report of the same name from the roll-ups: whole days (UTC), and hours for what is left of each period. Who was
-- active: of a period of few events these tell; of a longer one each user is looked up. Who was last seen within it
-- was active. Of those seen after it the sum of a whole day tells, or when they were last seen on the day that it
-- begins or ends in, or at last a look into the events of the latter. Of one action type or model users are counted
-- among the events of the hours that have any. Where a user is named, usage_totals_of_user is run in its place.
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
        SELECT *, date_trunc('day', since + interval '23 hours', 'UTC') AS first,
            date_trunc('day', until, 'UTC') AS last
        FROM periods
    ) AS days
), part AS (
    SELECT whole.period, daily.action_type, daily.model_used, daily.events, daily.credits, daily.api_cost,
        daily.refunded
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
), figures AS MATERIALIZED (
    SELECT periods.place, periods.period, periods.since, periods.until, COALESCE(SUM(part.events), 0) AS events,
        COALESCE(SUM(part.credits), 0) AS credits, COALESCE(SUM(part.refunded), 0) AS refunded,
        COALESCE(SUM(part.api_cost), 0) AS api_cost,
        CAST(:action_type AS text) IS NULL AND CAST(:model AS text) IS NULL AS is_of_everything,
        COALESCE(SUM(part.events), 0) <= 250000 AS is_short
    FROM periods
    LEFT JOIN part
        ON part.period = periods.period
        AND (CAST(:action_type AS text) IS NULL OR part.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR part.model_used = CAST(:model AS text))
    GROUP BY periods.place, periods.period, periods.since, periods.until
), used_hours AS (
    SELECT periods.period, hourly.hour
    FROM periods
    JOIN usage_hourly AS hourly ON hourly.hour >= periods.since AND hourly.hour < periods.until
    WHERE (CAST(:action_type AS text) IS NULL OR hourly.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR hourly.model_used = CAST(:model AS text))
        AND (CAST(:action_type AS text) IS NOT NULL OR CAST(:model AS text) IS NOT NULL)
    GROUP BY periods.period, hourly.hour
    HAVING SUM(hourly.events) > 0
), long AS MATERIALIZED (
    -- Periods of many events: their whole days, and the days that they begin and end in.
    SELECT figures.period, figures.since, figures.until,
        CAST(whole.since AT TIME ZONE 'UTC' AS date) AS whole_since,
        CAST(whole.until AT TIME ZONE 'UTC' AS date) AS whole_until,
        CAST(figures.since AT TIME ZONE 'UTC' AS date) AS first_day,
        CAST(figures.until AT TIME ZONE 'UTC' AS date) AS last_day,
        GREATEST(figures.since, date_trunc('day', figures.until, 'UTC')) AS last_since
    FROM figures
    JOIN whole ON whole.period = figures.period
    WHERE figures.is_of_everything AND NOT figures.is_short
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
    SELECT figures.period, counted.users
    FROM figures
    CROSS JOIN LATERAL (
        SELECT COUNT(*) AS users
        FROM (
            SELECT event.user_id
            FROM credit_usage_events AS event
            WHERE event.created_at >= figures.since AND event.created_at < figures.until
            GROUP BY event.user_id
        ) AS users
    ) AS counted
    WHERE figures.is_of_everything AND figures.is_short
    UNION ALL
    SELECT long.period, counted.users
    FROM long
    CROSS JOIN LATERAL (
        SELECT COUNT(
            CASE
                WHEN account.last_event_at < long.until THEN 1
                ELSE COALESCE(
                    (
                        SELECT 1
                        FROM user_daily AS daily
                        WHERE daily.user_id = account.user_id
                            AND daily.day >= long.whole_since AND daily.day < long.whole_until
                        LIMIT 1
                    ),
                    (
                        SELECT 1
                        FROM user_daily AS daily
                        WHERE daily.user_id = account.user_id AND daily.day IN (long.first_day, long.last_day)
                            AND daily.last_at >= long.since AND daily.last_at < long.until
                        LIMIT 1
                    ),
                    (
                        SELECT 1
                        FROM credit_usage_events AS event
                        WHERE event.user_id = account.user_id
                            AND event.created_at >= long.last_since AND event.created_at < long.until
                        LIMIT 1
                    )
                )
            END
        ) AS users
        FROM user_credit_balances AS account
        WHERE account.last_event_at >= long.since
    ) AS counted
)
SELECT
    figures.period,
    CAST(figures.events AS bigint) AS events,
    trim_scale(figures.credits) AS credits,
    trim_scale(figures.refunded) AS refunded_credits,
    trim_scale(figures.credits - figures.refunded) AS net_credits,
    trim_scale(figures.api_cost) AS api_cost_dollars,
    COALESCE(active.users, 0) AS active_users
FROM figures
LEFT JOIN active ON active.period = figures.period
ORDER BY figures.place
