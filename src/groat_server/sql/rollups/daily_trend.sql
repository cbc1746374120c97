-- The report of the same name from the roll-ups. The users of whole days are counted already; those of the first, partial
-- day are they whose last event of that day is in the window.
WITH edge AS (
    SELECT now.instant - make_interval(days => CAST(:days AS integer)) AS since,
        CAST((now.instant - make_interval(days => CAST(:days AS integer))) AT TIME ZONE 'UTC' AS date) AS first_day,
        CAST(now.instant AT TIME ZONE 'UTC' AS date) AS present_day
    FROM (SELECT coalesce(CAST(:as_of AS timestamptz), now()) AS instant) AS now
), used AS (
    SELECT CAST(part.hour AT TIME ZONE 'UTC' AS date) AS day, CAST(SUM(part.events) AS bigint) AS events,
        SUM(part.credits) AS credits
    FROM usage_since((SELECT since FROM edge)) AS part
    GROUP BY CAST(part.hour AT TIME ZONE 'UTC' AS date)
    HAVING SUM(part.events) > 0
), counted AS (
    SELECT day, CAST(SUM(users) AS bigint) AS users
    FROM usage_daily_users
    WHERE day > (SELECT first_day FROM edge)
    GROUP BY day
    UNION ALL
    SELECT edge.first_day, (
        SELECT COUNT(*) FROM user_daily AS daily WHERE daily.day = edge.first_day AND daily.last_at > edge.since
    ) + (
        SELECT COUNT(*) FROM user_credit_balances AS account
        WHERE account.open_day = edge.first_day AND account.last_event_at > edge.since
    )
    FROM edge
), days AS (
    SELECT CAST(
        generate_series(edge.first_day, GREATEST(edge.present_day, (SELECT MAX(day) FROM used)), interval '1 day') AS date
    ) AS day
    FROM edge
)
SELECT
    days.day AS date,
    COALESCE(used.events, 0) AS events,
    COALESCE(trim_scale(used.credits), 0) AS total_credits,
    COALESCE(counted.users, 0) AS unique_users
FROM days
LEFT JOIN used ON used.day = days.day
LEFT JOIN counted ON counted.day = days.day
ORDER BY days.day
