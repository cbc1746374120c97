-- The report of the same name from the roll-ups.
SELECT
    part.action_type,
    CAST(SUM(part.events) AS bigint) AS event_count,
    trim_scale(SUM(part.credits)) AS total_credits,
    trim_scale(SUM(part.api_cost)) AS total_api_cost_dollars,
    trim_scale(ROUND(ROUND(SUM(part.credits), 24) / SUM(part.events), 12)) AS avg_per_event
FROM usage_since(
    coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
) AS part
GROUP BY part.action_type
HAVING SUM(part.events) > 0
ORDER BY total_credits DESC, part.action_type
