-- The report of the same name from the roll-ups: of days whose actions were added up (add_up_actions) from those, of all
-- others from the events.
WITH edge AS (
    SELECT coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer)) AS since
), window_of AS (
    SELECT since, CAST(since AT TIME ZONE 'UTC' AS date) AS first_day,
        date_trunc('hour', since, 'UTC') + interval '1 hour' AS next_hour
    FROM edge
), days AS (
    SELECT daily.user_id, daily.day, daily.actions
    FROM user_daily AS daily
    WHERE daily.user_id = :user_id AND daily.day >= (SELECT first_day FROM window_of)
    UNION ALL
    SELECT account.user_id, account.open_day, NULL
    FROM user_credit_balances AS account
    WHERE account.user_id = :user_id AND account.open_day >= (SELECT first_day FROM window_of)
), stretches AS (
    SELECT days.user_id,
        GREATEST(days.day::timestamp AT TIME ZONE 'UTC', window_of.since) AS since,
        CASE WHEN days.actions IS NULL THEN (days.day + 1)::timestamp AT TIME ZONE 'UTC'
            WHEN days.day = window_of.first_day THEN window_of.next_hour END AS until
    FROM days
    CROSS JOIN window_of
), refunds AS (
    SELECT event_id, SUM(amount) AS refunded
    FROM credit_ledger_entries
    WHERE user_id = :user_id AND event_id IS NOT NULL AND kind = 'refund'
    GROUP BY event_id
), parts AS (
    SELECT used.action_type, CAST(used.figures -> 0 AS bigint) AS events, CAST(used.figures -> 1 AS numeric) AS credits,
        CAST(used.figures -> 2 AS numeric) AS api_cost, CAST(0 AS numeric) AS refunded
    FROM days
    CROSS JOIN LATERAL jsonb_each(days.actions -> 'day') AS used(action_type, figures)
    WHERE days.day > (SELECT first_day FROM window_of)
    UNION ALL
    SELECT used.action_type, CAST(used.figures -> 0 AS bigint), CAST(used.figures -> 1 AS numeric),
        CAST(used.figures -> 2 AS numeric), 0
    FROM days
    CROSS JOIN window_of
    CROSS JOIN LATERAL jsonb_each(days.actions -> 'hours') AS of_hour(hour, actions)
    CROSS JOIN LATERAL jsonb_each(of_hour.actions) AS used(action_type, figures)
    WHERE days.day = window_of.first_day
        AND CAST(of_hour.hour AS integer) > extract(hour FROM window_of.since AT TIME ZONE 'UTC')
    UNION ALL
    -- Each stretch by itself, as a range of the index by user and time. The user comes out of the days, so that no plan is
    -- made for who that is: for the heaviest the index by time alone looks cheaper.
    SELECT used.action_type, used.events, used.credits, used.api_cost, 0
    FROM stretches
    CROSS JOIN LATERAL (
        SELECT event.action_type, COUNT(*) AS events, SUM(event.credits_charged) AS credits,
            COALESCE(SUM(event.api_cost), 0) AS api_cost
        FROM credit_usage_events AS event
        WHERE event.user_id = stretches.user_id AND event.created_at > (SELECT since FROM window_of)
            AND event.created_at >= stretches.since AND event.created_at < stretches.until
        GROUP BY event.action_type
    ) AS used
    WHERE stretches.until IS NOT NULL
    UNION ALL
    SELECT event.action_type, 0, 0, 0, refunds.refunded
    FROM refunds
    JOIN credit_usage_events AS event ON event.user_id = :user_id AND event.id = refunds.event_id
    WHERE event.created_at > (SELECT since FROM window_of)
)
SELECT
    parts.action_type,
    CAST(SUM(parts.events) AS bigint) AS event_count,
    trim_scale(SUM(parts.credits)) AS total_credits,
    trim_scale(SUM(parts.refunded)) AS refunded_credits,
    trim_scale(SUM(parts.credits) - SUM(parts.refunded)) AS net_credits,
    trim_scale(SUM(parts.api_cost)) AS total_api_cost_dollars
FROM parts
GROUP BY parts.action_type
ORDER BY total_credits DESC, parts.action_type
