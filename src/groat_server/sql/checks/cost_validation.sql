-- Each event was charged what its own factors come to: cost x credits per dollar x multiplier, rounded half up once.
SELECT 'event ' || id || ' of user ' || user_id AS subject,
    'charged ' || credits_charged || ', its factors come to '
        || trim_scale(round(api_cost * credits_per_dollar * multiplier, 12)) AS finding
FROM credit_usage_events
WHERE cost_source IN ('model', 'caller', 'fallback')
    AND credits_charged IS DISTINCT FROM round(api_cost * credits_per_dollar * multiplier, 12)
ORDER BY user_id, id
