-- For the live view: those who used something since :since (seconds since 1970; null: ever) and those among :known, each
-- with the balance of now and, where they did, what was used in each minute and in the last 60 seconds. Reads the newest
-- :events_max events at most, by the index on created_at; where that was not all, is_whole is false. Days are UTC.
WITH recent AS MATERIALIZED (
    SELECT event.user_id, event.created_at, event.credits_charged
    FROM credit_usage_events AS event
    WHERE event.created_at >= coalesce(to_timestamp(CAST(:since AS bigint)), '-infinity')
    ORDER BY event.created_at DESC
    LIMIT :events_max
), by_minute AS (
    SELECT user_id, date_bin('1 minute', created_at, 'epoch') AS minute,
        trim_scale(sum(credits_charged)) AS credits, count(*) AS events,
        coalesce(sum(credits_charged) FILTER (WHERE created_at > now() - interval '1 minute'), 0) AS credits_now,
        count(*) FILTER (WHERE created_at > now() - interval '1 minute') AS events_now
    FROM recent
    GROUP BY 1, 2
), used AS (
    SELECT user_id, array_agg(CAST(extract(epoch FROM minute) AS bigint) ORDER BY minute) AS minutes,
        array_agg(credits ORDER BY minute) AS credits, array_agg(events ORDER BY minute) AS events,
        trim_scale(sum(credits_now)) AS credits_now, CAST(sum(events_now) AS bigint) AS events_now
    FROM by_minute
    GROUP BY user_id
), wanted AS (
    SELECT user_id FROM used
    UNION
    SELECT unnest(CAST(:known AS bigint[]))
)
SELECT account.user_id, users.email, account.current_balance AS balance,
    CASE
        WHEN account.open_day = CAST(now() AT TIME ZONE 'UTC' AS date) THEN account.open_credits
        ELSE coalesce((
            SELECT day.credits FROM user_daily AS day
            WHERE day.user_id = account.user_id AND day.day = CAST(now() AT TIME ZONE 'UTC' AS date)
        ), 0)
    END AS credits_today,
    account.last_event_at AS last_seen, last_used.action_type AS last_action, last_used.model_used AS last_model,
    coalesce(used.credits_now, 0) AS credits_now, coalesce(used.events_now, 0) AS events_now,
    coalesce(used.minutes, '{}') AS minutes, coalesce(used.credits, '{}') AS credits,
    coalesce(used.events, '{}') AS events, now() AS looked_at,
    coalesce((SELECT sum(events) FROM by_minute), 0) < :events_max AS is_whole
FROM wanted
JOIN user_credit_balances AS account ON account.user_id = wanted.user_id
JOIN users ON users.id = wanted.user_id
LEFT JOIN used ON used.user_id = wanted.user_id
LEFT JOIN LATERAL (
    SELECT event.action_type, event.model_used
    FROM credit_usage_events AS event
    WHERE event.user_id = used.user_id
    ORDER BY event.created_at DESC
    LIMIT 1
) AS last_used ON true
