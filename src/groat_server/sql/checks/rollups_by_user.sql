-- Each user's days in user_daily, and the newest in user_credit_balances, are what the events come to; no day is in both.
-- What the balance row has of months is no less than their days, and actions that were added up are those of the day.
WITH used AS (
    SELECT user_id, CAST(created_at AT TIME ZONE 'UTC' AS date) AS day, count(*) AS events,
        sum(credits_charged) AS credits, coalesce(sum(api_cost), 0) AS api_cost, max(created_at) AS last_at
    FROM credit_usage_events
    GROUP BY user_id, CAST(created_at AT TIME ZONE 'UTC' AS date)
), stored AS (
    SELECT user_id, day, events, credits, api_cost, last_at FROM user_daily
    UNION ALL
    SELECT user_id, open_day, open_events, open_credits, open_api_cost, last_event_at
    FROM user_credit_balances
    WHERE open_events <> 0 OR open_credits <> 0 OR open_api_cost <> 0
), compared AS (
    SELECT coalesce(used.user_id, stored.user_id) AS user_id, coalesce(used.day, stored.day) AS day,
        concat_ws(', ', used.events, used.credits, used.api_cost, used.last_at) AS actual,
        concat_ws(', ', stored.events, stored.credits, stored.api_cost, stored.last_at) AS found
    FROM used
    FULL JOIN stored ON stored.user_id = used.user_id AND stored.day = used.day
    WHERE (used.events, used.credits, used.api_cost, used.last_at)
        IS DISTINCT FROM (stored.events, stored.credits, stored.api_cost, stored.last_at)
), months AS (
    SELECT cb.user_id, cb.closed_month, cb.open_day, max(daily.day) AS newest_day,
        cb.closed_month_credits, cb.closed_previous_credits,
        coalesce(sum(daily.credits) FILTER (WHERE daily.day >= cb.closed_month), 0) AS credits,
        coalesce(
            sum(daily.credits) FILTER (
                WHERE daily.day >= cb.closed_month - interval '1 month' AND daily.day < cb.closed_month
            ),
            0
        ) AS previous
    FROM user_credit_balances cb
    LEFT JOIN user_daily AS daily ON daily.user_id = cb.user_id
    GROUP BY cb.user_id, cb.closed_month, cb.open_day, cb.closed_month_credits, cb.closed_previous_credits
)
SELECT 'day ' || day || ' of user ' || user_id AS subject,
    'events, credits, api_cost and last event are ' || coalesce(nullif(found, ''), 'missing') || ', should be '
        || coalesce(nullif(actual, ''), 'none') AS finding
FROM compared
UNION ALL
SELECT 'user ' || user_id,
    CASE
        WHEN newest_day >= open_day OR newest_day IS NOT NULL AND open_day IS NULL
            THEN 'has ' || newest_day || ' in user_daily, and its newest day is ' || coalesce(CAST(open_day AS text), 'null')
        WHEN closed_month IS DISTINCT FROM CAST(date_trunc('month', open_day) AS date)
            THEN 'closed_month is ' || coalesce(CAST(closed_month AS text), 'null') || ', its newest day '
                || coalesce(CAST(open_day AS text), 'null')
        ELSE 'closed_month_credits and closed_previous_credits are ' || closed_month_credits || ' and '
            || closed_previous_credits || ', the days come to ' || credits || ' and ' || previous
    END
FROM months
WHERE newest_day >= open_day OR newest_day IS NOT NULL AND open_day IS NULL
    OR closed_month IS DISTINCT FROM CAST(date_trunc('month', open_day) AS date)
    OR closed_month_credits < credits OR closed_previous_credits < previous
UNION ALL
SELECT 'day ' || day || ' of user ' || user_id, 'its actions were added up otherwise'
FROM user_daily
WHERE actions IS NOT NULL AND actions IS DISTINCT FROM actions_of_day(user_id, day)
