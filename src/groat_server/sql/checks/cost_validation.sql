-- Each event, voided or not, was charged what its own factors come to: cost x credits per dollar x multiplier, rounded
-- half up once.
WITH events AS (
    SELECT user_id, id, cost_source, credits_charged, api_cost, credits_per_dollar, multiplier FROM credit_usage_events
    UNION ALL
    SELECT user_id, id, cost_source, credits_charged, api_cost, credits_per_dollar, multiplier
    FROM voided_credit_usage_events
)
SELECT 'event ' || id || ' of user ' || user_id AS subject,
    'charged ' || credits_charged || ', its factors come to '
        || coalesce(CAST(trim_scale(round(api_cost * credits_per_dollar * multiplier, 12)) AS text), 'nothing')
        AS finding
FROM events
WHERE cost_source IN ('model', 'caller', 'fallback')
    AND credits_charged IS DISTINCT FROM round(api_cost * credits_per_dollar * multiplier, 12)
ORDER BY user_id, id
