-- The report `events` of one user: day by day, the newest first, but only those on which the user has events and anybody has
-- any of the action type and the model, and only as far as the page goes.
WITH edges AS (
    SELECT COALESCE(CAST(:since AS timestamptz), '-infinity') AS since,
        LEAST(
            COALESCE(CAST(:until AS timestamptz), 'infinity'),
            CAST(:after_timestamp AS timestamptz) + interval '1 microsecond'
        ) AS until
), days AS (
    SELECT account.user_id, account.open_day AS day
    FROM user_credit_balances AS account
    WHERE account.user_id = CAST(:user_id AS bigint) AND account.open_day IS NOT NULL
    UNION ALL
    SELECT daily.user_id, daily.day
    FROM user_daily AS daily
    WHERE daily.user_id = CAST(:user_id AS bigint)
        AND daily.day >= (SELECT CAST(GREATEST(since, '2000-01-01') AT TIME ZONE 'UTC' AS date) FROM edges)
        AND daily.day <= (SELECT CAST(LEAST(until, '2200-01-01') AT TIME ZONE 'UTC' AS date) FROM edges)
        AND (
            CAST(:action_type AS text) IS NULL OR daily.actions IS NULL
            OR jsonb_exists(daily.actions -> 'day', CAST(:action_type AS text))
        )
), used_days AS MATERIALIZED (
    SELECT daily.day
    FROM usage_daily AS daily
    WHERE (CAST(:action_type AS text) IS NULL OR daily.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR daily.model_used = CAST(:model AS text))
        AND (CAST(:action_type AS text) IS NOT NULL OR CAST(:model AS text) IS NOT NULL)
    GROUP BY daily.day
    HAVING SUM(daily.events) > 0
)
SELECT event.id, event.created_at AS timestamp, event.recorded_at, event.user_id, users.email, event.action_type,
    event.model_used AS model, event.provider, event.input_tokens, event.output_tokens, event.quantity, event.api_cost,
    event.credits_charged AS credits, event.cost_source, event.balance_after, event.description
FROM (
    SELECT user_id, day
    FROM days
    WHERE CAST(:action_type AS text) IS NULL AND CAST(:model AS text) IS NULL OR day IN (SELECT day FROM used_days)
    ORDER BY day DESC
) AS days
CROSS JOIN LATERAL (
    SELECT *
    FROM credit_usage_events AS event
    WHERE event.user_id = days.user_id
        AND event.created_at >= CAST(days.day AS timestamp) AT TIME ZONE 'UTC'
        AND event.created_at < CAST(days.day + 1 AS timestamp) AT TIME ZONE 'UTC'
        AND event.created_at >= (SELECT since FROM edges) AND event.created_at < (SELECT until FROM edges)
        AND (CAST(:action_type AS text) IS NULL OR event.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR event.model_used = CAST(:model AS text))
        AND (
            CAST(:after_timestamp AS timestamptz) IS NULL
            OR (event.created_at, event.id) < (CAST(:after_timestamp AS timestamptz), CAST(:after_id AS bigint))
        )
    ORDER BY event.created_at DESC, event.id DESC
    LIMIT :limit
) AS event
JOIN users ON users.id = event.user_id
ORDER BY days.day DESC, event.created_at DESC, event.id DESC
LIMIT :limit
