-- No event was recorded without a price.
SELECT 'model ' || coalesce(model_used, '(none)') AS subject, count(*) || ' events at 0 credits' AS finding
FROM credit_usage_events
WHERE cost_source = 'unpriced'
GROUP BY model_used
ORDER BY count(*) DESC
