-- The report `usage` from the roll-ups, of one user or by user: whole days (UTC) from the sums of each user's days, where those
-- are all that is asked for. What is left of the window comes from the events; of one user, from what the sweep has added up
-- of the day, where it has and no model is asked for.
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
    -- The whole days (UTC) of the window, where each user's sums are all that is asked for.
    SELECT CASE WHEN are_asked_for AND since < until THEN since ELSE window_end END AS since,
        CASE WHEN are_asked_for AND since < until THEN until ELSE window_end END AS until
    FROM (
        SELECT edges.until AS window_end,
            date_trunc('day', edges.since + interval '23 hours', 'UTC') AS since,
            date_trunc('day', edges.until, 'UTC') AS until,
            (
                CAST(:bucket AS text) = 'all'
                OR CAST(:bucket AS text) = 'day' AND CAST(:time_zone AS text) IN ('UTC', 'Etc/UTC')
            )
            AND CAST(:group AS text) IN ('none', 'user')
            AND CAST(:action_type AS text) IS NULL AND CAST(:model AS text) IS NULL AS are_asked_for
        FROM edges
    ) AS days
), pieces AS (
    -- What is left of the window.
    SELECT edges.since, whole.since AS until FROM edges CROSS JOIN whole WHERE edges.since < whole.since
    UNION ALL
    SELECT whole.until, edges.until FROM edges CROSS JOIN whole WHERE whole.until < edges.until
), days AS (
    -- The days of the one user in it.
    SELECT daily.user_id, pieces.since, pieces.until, CAST(daily.day AS timestamp) AT TIME ZONE 'UTC' AS start,
        CASE WHEN CAST(:group AS text) <> 'model' AND CAST(:model AS text) IS NULL THEN daily.actions END AS actions
    FROM pieces
    JOIN user_daily AS daily ON daily.user_id = CAST(:user_id AS bigint)
        AND daily.day >= CAST(pieces.since AT TIME ZONE 'UTC' AS date)
        AND daily.day <= CAST(pieces.until AT TIME ZONE 'UTC' AS date)
    UNION ALL
    SELECT account.user_id, pieces.since, pieces.until, CAST(account.open_day AS timestamp) AT TIME ZONE 'UTC', NULL
    FROM pieces
    JOIN user_credit_balances AS account ON account.user_id = CAST(:user_id AS bigint)
        AND account.open_day >= CAST(pieces.since AT TIME ZONE 'UTC' AS date)
        AND account.open_day <= CAST(pieces.until AT TIME ZONE 'UTC' AS date)
), part AS (
    SELECT daily.user_id, CAST(daily.day AS timestamp) AT TIME ZONE 'UTC' AS hour, NULL AS action_type, NULL AS model_used,
        daily.events, daily.credits, daily.api_cost, CAST(0 AS numeric) AS refunded
    FROM user_daily AS daily
    WHERE CAST(:user_id AS bigint) IS NULL
        AND daily.day >= (SELECT CAST(since AT TIME ZONE 'UTC' AS date) FROM whole)
        AND daily.day < (SELECT CAST(until AT TIME ZONE 'UTC' AS date) FROM whole)
    UNION ALL
    SELECT daily.user_id, CAST(daily.day AS timestamp) AT TIME ZONE 'UTC', NULL, NULL, daily.events, daily.credits,
        daily.api_cost, 0
    FROM user_daily AS daily
    WHERE daily.user_id = CAST(:user_id AS bigint)
        AND daily.day >= (SELECT CAST(since AT TIME ZONE 'UTC' AS date) FROM whole)
        AND daily.day < (SELECT CAST(until AT TIME ZONE 'UTC' AS date) FROM whole)
    UNION ALL
    SELECT account.user_id, CAST(account.open_day AS timestamp) AT TIME ZONE 'UTC', NULL, NULL, account.open_events,
        account.open_credits, account.open_api_cost, 0
    FROM user_credit_balances AS account
    WHERE (CAST(:user_id AS bigint) IS NULL OR account.user_id = CAST(:user_id AS bigint))
        AND account.open_day >= (SELECT CAST(since AT TIME ZONE 'UTC' AS date) FROM whole)
        AND account.open_day < (SELECT CAST(until AT TIME ZONE 'UTC' AS date) FROM whole)
    UNION ALL
    SELECT event.user_id, date_trunc('hour', event.created_at, 'UTC'), event.action_type, event.model_used, 1,
        event.credits_charged, COALESCE(event.api_cost, 0), 0
    FROM pieces
    JOIN credit_usage_events AS event ON event.created_at >= pieces.since AND event.created_at < pieces.until
    WHERE CAST(:user_id AS bigint) IS NULL
    UNION ALL
    SELECT days.user_id, of_hour.hour, used.action_type, NULL, CAST(used.figures -> 0 AS bigint),
        CAST(used.figures -> 1 AS numeric), CAST(used.figures -> 2 AS numeric), 0
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
    SELECT days.user_id, used.hour, used.action_type, used.model_used, used.events, used.credits, used.api_cost, 0
    FROM days
    CROSS JOIN LATERAL (
        SELECT date_trunc('hour', event.created_at, 'UTC') AS hour, event.action_type, event.model_used,
            COUNT(*) AS events, SUM(event.credits_charged) AS credits, COALESCE(SUM(event.api_cost), 0) AS api_cost
        FROM credit_usage_events AS event
        WHERE event.user_id = days.user_id
            AND event.created_at >= GREATEST(days.start, days.since)
            AND event.created_at < LEAST(days.start + interval '24 hours', days.until)
        GROUP BY date_trunc('hour', event.created_at, 'UTC'), event.action_type, event.model_used
    ) AS used
    WHERE days.actions IS NULL
    UNION ALL
    SELECT event.user_id, date_trunc('hour', event.created_at, 'UTC'), event.action_type, event.model_used, 0, 0, 0,
        entry.amount
    FROM credit_ledger_entries AS entry
    CROSS JOIN LATERAL (
        -- By the primary key: LIMIT keeps the window out of it, for which another index would look better.
        SELECT * FROM credit_usage_events WHERE user_id = entry.user_id AND id = entry.event_id LIMIT 1
    ) AS event
    WHERE entry.event_id IS NOT NULL AND entry.kind = 'refund'
        AND (CAST(:user_id AS bigint) IS NULL OR entry.user_id = CAST(:user_id AS bigint))
        AND event.created_at >= (SELECT since FROM edges) AND event.created_at < (SELECT until FROM edges)
), used AS (
    SELECT
        CASE CAST(:bucket AS text)
            WHEN 'hour' THEN part.hour
            WHEN 'day' THEN date_trunc('day', part.hour, CAST(:time_zone AS text))
            ELSE (SELECT since FROM edges)
        END AS bucket,
        CASE CAST(:group AS text) WHEN 'user' THEN part.user_id ELSE 0 END AS user_id,
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
