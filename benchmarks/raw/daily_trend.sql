-- Thirty days by day.
SELECT date(created_at), count(*), sum(credits_charged), count(DISTINCT user_id)
FROM credit_usage_events
WHERE created_at > now() - interval '30 days'
GROUP BY 1
ORDER BY 1
