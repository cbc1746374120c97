-- Totals of the last :days days before :as_of (null: now), in all (action_type null) and by action type.
SELECT
    action_type,
    COUNT(*) AS event_count,
    COALESCE(trim_scale(SUM(credits_charged)), 0) AS total_credits,
    COALESCE(trim_scale(SUM(api_cost)), 0) AS total_api_cost_dollars,
    COUNT(DISTINCT user_id) AS active_users
FROM credit_usage_events
WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
GROUP BY GROUPING SETS ((), (action_type))
ORDER BY GROUPING(action_type) DESC, total_credits DESC, action_type
