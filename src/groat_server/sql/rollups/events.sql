-- The report of the same name for an action type or a model, of all users: day by day and hour by hour, the newest first, but
-- only those of which the roll-ups have any, and only as far as the page goes.
WITH edges AS (
    SELECT COALESCE(CAST(:since AS timestamptz), '-infinity') AS since,
        LEAST(
            COALESCE(CAST(:until AS timestamptz), 'infinity'),
            CAST(:after_timestamp AS timestamptz) + interval '1 microsecond'
        ) AS until
), days AS (
    SELECT daily.day
    FROM usage_daily AS daily
    WHERE daily.day >= (SELECT CAST(GREATEST(since, '2000-01-01') AT TIME ZONE 'UTC' AS date) FROM edges)
        AND daily.day <= (SELECT CAST(LEAST(until, '2200-01-01') AT TIME ZONE 'UTC' AS date) FROM edges)
        AND (CAST(:action_type AS text) IS NULL OR daily.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR daily.model_used = CAST(:model AS text))
    GROUP BY daily.day
    HAVING SUM(daily.events) > 0
)
SELECT event.id, event.created_at AS timestamp, event.recorded_at, event.user_id, users.email, event.action_type,
    event.model_used AS model, event.provider, event.input_tokens, event.output_tokens, event.quantity, event.api_cost,
    event.credits_charged AS credits, event.cost_source, event.balance_after, event.description
FROM (SELECT day FROM days ORDER BY day DESC) AS days
CROSS JOIN LATERAL (
    SELECT hourly.hour
    FROM usage_hourly AS hourly
    WHERE hourly.hour >= CAST(days.day AS timestamp) AT TIME ZONE 'UTC'
        AND hourly.hour < CAST(days.day + 1 AS timestamp) AT TIME ZONE 'UTC'
        AND hourly.hour > (SELECT since - interval '1 hour' FROM edges) AND hourly.hour < (SELECT until FROM edges)
        AND (CAST(:action_type AS text) IS NULL OR hourly.action_type = CAST(:action_type AS text))
        AND (CAST(:model AS text) IS NULL OR hourly.model_used = CAST(:model AS text))
    GROUP BY hourly.hour
    HAVING SUM(hourly.events) > 0
) AS hours
CROSS JOIN LATERAL (
    SELECT *
    FROM credit_usage_events AS event
    WHERE event.created_at >= hours.hour AND event.created_at < hours.hour + interval '1 hour'
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
