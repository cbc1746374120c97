-- usage_hourly is what the events of each hour come to, by action type and model, and what was refunded of them.
WITH stored AS (
    SELECT hour, action_type, model_used, sum(events) AS events, sum(credits) AS credits, sum(api_cost) AS api_cost,
        sum(refunded) AS refunded
    FROM usage_hourly
    GROUP BY hour, action_type, model_used
), refunds AS (
    SELECT date_trunc('hour', ce.created_at, 'UTC') AS hour, ce.action_type, ce.model_used, sum(entry.amount) AS refunded
    FROM credit_ledger_entries AS entry
    JOIN credit_usage_events ce ON ce.user_id = entry.user_id AND ce.id = entry.event_id
    WHERE entry.event_id IS NOT NULL AND entry.kind = 'refund'
    GROUP BY date_trunc('hour', ce.created_at, 'UTC'), ce.action_type, ce.model_used
), used AS (
    SELECT date_trunc('hour', created_at, 'UTC') AS hour, action_type, model_used, count(*) AS events,
        sum(credits_charged) AS credits, coalesce(sum(api_cost), 0) AS api_cost
    FROM credit_usage_events
    GROUP BY date_trunc('hour', created_at, 'UTC'), action_type, model_used
), compared AS (
    SELECT hour, action_type, model_used,
        sum(events) FILTER (WHERE is_stored) AS stored_events, sum(events) FILTER (WHERE NOT is_stored) AS events,
        sum(credits) FILTER (WHERE is_stored) AS stored_credits, sum(credits) FILTER (WHERE NOT is_stored) AS credits,
        sum(api_cost) FILTER (WHERE is_stored) AS stored_api_cost,
        sum(api_cost) FILTER (WHERE NOT is_stored) AS api_cost,
        sum(refunded) FILTER (WHERE is_stored) AS stored_refunded,
        sum(refunded) FILTER (WHERE NOT is_stored) AS refunded
    FROM (
        SELECT true AS is_stored, hour, action_type, model_used, events, credits, api_cost, refunded
        FROM stored
        UNION ALL
        SELECT false, hour, action_type, model_used, events, credits, api_cost, 0 FROM used
        UNION ALL
        SELECT false, hour, action_type, model_used, 0, 0, 0, refunded FROM refunds
    ) AS figures
    GROUP BY hour, action_type, model_used
), told AS (
    SELECT hour, action_type, model_used,
        ARRAY[
            coalesce(stored_events, 0), coalesce(stored_credits, 0), coalesce(stored_api_cost, 0),
            coalesce(stored_refunded, 0)
        ] AS stored,
        ARRAY[
            coalesce(events, 0), coalesce(credits, 0), coalesce(api_cost, 0), coalesce(refunded, 0)
        ] AS actual
    FROM compared
)
SELECT 'hour ' || to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS subject,
    action_type || ', ' || coalesce(model_used, 'no model') || ': events, credits, api_cost, refunded are '
        || array_to_string(stored, ', ') || ', should be ' || array_to_string(actual, ', ') AS finding
FROM told
WHERE stored <> actual
ORDER BY hour, action_type, model_used
