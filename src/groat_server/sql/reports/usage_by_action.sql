-- Usage by action type in the last :days days before :as_of (null: now).
SELECT
    action_type,
    COUNT(*) AS event_count,
    trim_scale(SUM(credits_charged)) AS total_credits,
    COALESCE(trim_scale(SUM(api_cost)), 0) AS total_api_cost_dollars,
    trim_scale(ROUND(ROUND(SUM(credits_charged), 24) / COUNT(*), 12)) AS avg_per_event
FROM credit_usage_events
WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
GROUP BY action_type
ORDER BY total_credits DESC, action_type
