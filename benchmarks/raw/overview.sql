-- Thirty days in all and by action type, as the guide would add them up.
SELECT action_type, count(*), sum(credits_charged), sum(api_cost), count(DISTINCT user_id)
FROM credit_usage_events
WHERE created_at > now() - interval '30 days'
GROUP BY GROUPING SETS ((), (action_type))
