-- The report of the same name from the roll-ups: what is before the last 24 hours is added up for those alone who used
-- a credit in them, and of these not for who used too much in the week before to be told.
WITH edge AS MATERIALIZED (
    SELECT window_start.today_since, CAST(window_start.today_since AT TIME ZONE 'UTC' AS date) AS first_day,
        date_trunc('day', window_start.today_since, 'UTC') + interval '24 hours' AS first_day_end
    FROM (
        SELECT COALESCE(CAST(:as_of AS timestamptz), now()) - interval '24 hours' AS today_since
    ) AS window_start
), partial AS MATERIALIZED (
    -- The first, partial day of the last 24 hours.
    SELECT event.user_id, SUM(event.credits_charged) AS credits
    FROM credit_usage_events AS event
    WHERE event.created_at > (SELECT today_since FROM edge) AND event.created_at < (SELECT first_day_end FROM edge)
    GROUP BY event.user_id
), today AS MATERIALIZED (
    SELECT summed.user_id, summed.credits
    FROM (
        SELECT account.user_id,
            COALESCE(partial.credits, 0)
            + CASE WHEN account.open_day > edge.first_day THEN account.open_credits ELSE 0 END
            + CASE
                WHEN account.open_day > edge.first_day + 1 THEN (
                    SELECT COALESCE(SUM(daily.credits), 0)
                    FROM user_daily AS daily
                    WHERE daily.user_id = account.user_id AND daily.day > edge.first_day
                )
                ELSE 0
            END AS credits
        FROM edge
        JOIN user_credit_balances AS account ON account.last_event_at > edge.today_since
        LEFT JOIN partial ON partial.user_id = account.user_id
    ) AS summed
    WHERE summed.credits >= 1
), suspected AS MATERIALIZED (
    SELECT today.user_id, today.credits
    FROM today
    CROSS JOIN LATERAL (
        SELECT COALESCE(SUM(daily.credits), 0) AS credits
        FROM user_daily AS daily
        WHERE daily.user_id = today.user_id
            AND daily.day >= (SELECT first_day - 7 FROM edge) AND daily.day < (SELECT first_day FROM edge)
    ) AS week
    WHERE today.credits * 28 > week.credits * CAST(:factor AS integer)
), used AS (
    SELECT suspected.user_id, suspected.credits AS today, both_parts.credits - suspected.credits AS before
    FROM edge
    CROSS JOIN LATERAL usage_of_users_since(
        ARRAY(SELECT suspected.user_id FROM suspected), edge.today_since - interval '672 hours'
    ) AS both_parts
    JOIN suspected ON suspected.user_id = both_parts.user_id
)
SELECT
    used.user_id,
    users.email,
    users.full_name,
    trim_scale(used.today) AS credits_today,
    trim_scale(ROUND(ROUND(used.before, 24) / 28, 12)) AS daily_mean,
    trim_scale(ROUND(ROUND(used.today, 24) * 28 / NULLIF(used.before, 0), 2)) AS ratio
FROM used
JOIN users ON users.id = used.user_id
WHERE used.today >= 1 AND used.today * 28 > used.before * CAST(:factor AS integer) AND users.anonymised_at IS NULL
ORDER BY used.today DESC, used.user_id
LIMIT :limit
