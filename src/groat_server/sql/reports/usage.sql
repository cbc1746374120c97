-- Usage of the hours (UTC) that begin at or after :since and before :until (null: the end of the present hour), by :bucket
-- (hour, day or all) and by :group (none, action, model or user). A day is one of :time_zone, and has the hours that begin
-- in it; for "all", bucket is where the window begins. Without :since the window is 30 such days, of hours 2. Only what is of
-- :action_type, :model and :user_id counts, where those are given. The :series groups of most credits in the window have
-- their name; all others are one row a bucket, with is_other. Credits are gross of refunds and net of voids; refunded_credits
-- is what was given back of these very events, whenever that was. There are rows where there is usage.
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
), refunds AS (
    SELECT user_id, event_id, SUM(amount) AS refunded
    FROM credit_ledger_entries
    WHERE event_id IS NOT NULL AND kind = 'refund'
    GROUP BY user_id, event_id
), used AS (
    SELECT
        CASE CAST(:bucket AS text)
            WHEN 'hour' THEN date_trunc('hour', ce.created_at, 'UTC')
            WHEN 'day' THEN date_trunc('day', date_trunc('hour', ce.created_at, 'UTC'), CAST(:time_zone AS text))
            ELSE edges.since
        END AS bucket,
        CASE CAST(:group AS text) WHEN 'user' THEN ce.user_id ELSE 0 END AS user_id,
        CASE CAST(:group AS text)
            WHEN 'action' THEN ce.action_type WHEN 'model' THEN COALESCE(ce.model_used, '') ELSE ''
        END AS name,
        COUNT(*) AS events,
        SUM(ce.credits_charged) AS credits,
        COALESCE(SUM(refunds.refunded), 0) AS refunded,
        COALESCE(SUM(ce.api_cost), 0) AS api_cost
    FROM edges
    JOIN credit_usage_events ce ON ce.created_at >= edges.since AND ce.created_at < edges.until
    LEFT JOIN refunds ON refunds.user_id = ce.user_id AND refunds.event_id = ce.id
    WHERE (CAST(:action_type AS text) IS NULL OR ce.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR ce.model_used = CAST(:model AS text))
        AND (CAST(:user_id AS bigint) IS NULL OR ce.user_id = CAST(:user_id AS bigint))
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
