-- What the window of `usage` came to, beside the window of equal length before: two rows, by period ("current", then
-- "previous"). The window is of the hours (UTC) that begin at or after :since (null: the start of the day 29 days before the
-- last, in :time_zone) and before :until (null: the end of the present hour). Only what is of :action_type, :model and
-- :user_id counts, where those are given. Credits are gross of refunds and net of voids; refunded_credits is what was given
-- back of these very events, whenever that was.
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
), refunds AS (
    SELECT user_id, event_id, SUM(amount) AS refunded
    FROM credit_ledger_entries
    WHERE event_id IS NOT NULL AND kind = 'refund'
    GROUP BY user_id, event_id
)
SELECT
    periods.period,
    COUNT(ce.id) AS events,
    COALESCE(trim_scale(SUM(ce.credits_charged)), 0) AS credits,
    COALESCE(trim_scale(SUM(refunds.refunded)), 0) AS refunded_credits,
    COALESCE(trim_scale(SUM(ce.credits_charged - COALESCE(refunds.refunded, 0))), 0) AS net_credits,
    COALESCE(trim_scale(SUM(ce.api_cost)), 0) AS api_cost_dollars,
    COUNT(DISTINCT ce.user_id) AS active_users
FROM periods
LEFT JOIN credit_usage_events ce
    ON ce.created_at >= periods.since AND ce.created_at < periods.until
    AND (CAST(:action_type AS text) IS NULL OR ce.action_type = CAST(:action_type AS text))
    AND (CAST(:model AS text) IS NULL OR ce.model_used = CAST(:model AS text))
    AND (CAST(:user_id AS bigint) IS NULL OR ce.user_id = CAST(:user_id AS bigint))
LEFT JOIN refunds ON refunds.user_id = ce.user_id AND refunds.event_id = ce.id
GROUP BY periods.place, periods.period
ORDER BY periods.place
