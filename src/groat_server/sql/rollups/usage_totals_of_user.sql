-- The report `usage-totals` of one user from the roll-ups: whole days (UTC) from the sums of the user's days, where those are
-- all that is asked for; what is left of each period from what the sweep has added up of the day, where it has and no model is
-- asked for, or from the events.
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
    -- The whole days (UTC) of each period, where their sums are all that is asked for.
    SELECT period, CASE WHEN are_asked_for THEN first ELSE until END AS since,
        CASE WHEN are_asked_for THEN last ELSE until END AS until
    FROM (
        SELECT days.*,
            first < last AND CAST(:action_type AS text) IS NULL AND CAST(:model AS text) IS NULL AS are_asked_for
        FROM (
            SELECT *, date_trunc('day', since + interval '23 hours', 'UTC') AS first,
                date_trunc('day', until, 'UTC') AS last
            FROM periods
        ) AS days
    ) AS days
), pieces AS (
    -- What is left of each period.
    SELECT periods.period, periods.since, whole.since AS until FROM periods JOIN whole USING (period)
    UNION ALL
    SELECT periods.period, whole.until, periods.until FROM periods JOIN whole USING (period)
), days AS (
    SELECT pieces.period, daily.user_id, pieces.since, pieces.until,
        CAST(daily.day AS timestamp) AT TIME ZONE 'UTC' AS start,
        CASE WHEN CAST(:model AS text) IS NULL THEN daily.actions END AS actions
    FROM pieces
    JOIN user_daily AS daily ON daily.user_id = CAST(:user_id AS bigint)
        AND daily.day >= CAST(pieces.since AT TIME ZONE 'UTC' AS date)
        AND daily.day <= CAST(pieces.until AT TIME ZONE 'UTC' AS date)
    WHERE pieces.since < pieces.until
    UNION ALL
    SELECT pieces.period, account.user_id, pieces.since, pieces.until,
        CAST(account.open_day AS timestamp) AT TIME ZONE 'UTC', NULL
    FROM pieces
    JOIN user_credit_balances AS account ON account.user_id = CAST(:user_id AS bigint)
        AND account.open_day >= CAST(pieces.since AT TIME ZONE 'UTC' AS date)
        AND account.open_day <= CAST(pieces.until AT TIME ZONE 'UTC' AS date)
    WHERE pieces.since < pieces.until
), part AS (
    SELECT whole.period, NULL AS action_type, NULL AS model_used, daily.events, daily.credits, daily.api_cost,
        CAST(0 AS numeric) AS refunded
    FROM whole
    JOIN user_daily AS daily ON daily.user_id = CAST(:user_id AS bigint)
        AND daily.day >= CAST(whole.since AT TIME ZONE 'UTC' AS date)
        AND daily.day < CAST(whole.until AT TIME ZONE 'UTC' AS date)
    UNION ALL
    SELECT whole.period, NULL, NULL, account.open_events, account.open_credits, account.open_api_cost, 0
    FROM whole
    JOIN user_credit_balances AS account ON account.user_id = CAST(:user_id AS bigint)
        AND account.open_day >= CAST(whole.since AT TIME ZONE 'UTC' AS date)
        AND account.open_day < CAST(whole.until AT TIME ZONE 'UTC' AS date)
    UNION ALL
    SELECT days.period, used.action_type, NULL, CAST(used.figures -> 0 AS bigint), CAST(used.figures -> 1 AS numeric),
        CAST(used.figures -> 2 AS numeric), 0
    FROM days
    CROSS JOIN LATERAL (
        SELECT days.start + CAST(key AS integer) * interval '1 hour' AS hour, value AS actions
        FROM jsonb_each(days.actions -> 'hours')
    ) AS of_hour
    CROSS JOIN LATERAL jsonb_each(of_hour.actions) AS used(action_type, figures)
    WHERE of_hour.hour >= days.since AND of_hour.hour < days.until
    UNION ALL
    -- Each day by itself, as a range of the index by user and time. The user comes out of the days, so that no plan is made
    -- for who that is: for the heaviest the index by time alone looks cheaper.
    SELECT days.period, used.action_type, used.model_used, used.events, used.credits, used.api_cost, 0
    FROM days
    CROSS JOIN LATERAL (
        SELECT event.action_type, event.model_used, COUNT(*) AS events, SUM(event.credits_charged) AS credits,
            COALESCE(SUM(event.api_cost), 0) AS api_cost
        FROM credit_usage_events AS event
        WHERE event.user_id = days.user_id
            AND event.created_at >= GREATEST(days.start, days.since)
            AND event.created_at < LEAST(days.start + interval '24 hours', days.until)
        GROUP BY event.action_type, event.model_used
    ) AS used
    WHERE days.actions IS NULL
    UNION ALL
    SELECT periods.period, event.action_type, event.model_used, 0, 0, 0, entry.amount
    FROM credit_ledger_entries AS entry
    CROSS JOIN LATERAL (
        -- By the primary key: LIMIT keeps the window out of it, for which another index would look better.
        SELECT * FROM credit_usage_events WHERE user_id = entry.user_id AND id = entry.event_id LIMIT 1
    ) AS event
    JOIN periods ON event.created_at >= periods.since AND event.created_at < periods.until
    WHERE entry.user_id = CAST(:user_id AS bigint) AND entry.event_id IS NOT NULL AND entry.kind = 'refund'
)
SELECT
    periods.period,
    CAST(COALESCE(SUM(part.events), 0) AS bigint) AS events,
    COALESCE(trim_scale(SUM(part.credits)), 0) AS credits,
    COALESCE(trim_scale(SUM(part.refunded)), 0) AS refunded_credits,
    COALESCE(trim_scale(SUM(part.credits) - SUM(part.refunded)), 0) AS net_credits,
    COALESCE(trim_scale(SUM(part.api_cost)), 0) AS api_cost_dollars,
    CASE WHEN SUM(part.events) > 0 THEN 1 ELSE 0 END AS active_users
FROM periods
LEFT JOIN part
    ON part.period = periods.period
    AND (CAST(:action_type AS text) IS NULL OR part.action_type = CAST(:action_type AS text))
    AND (CAST(:model AS text) IS NULL OR part.model_used = CAST(:model AS text))
GROUP BY periods.place, periods.period
ORDER BY periods.place
