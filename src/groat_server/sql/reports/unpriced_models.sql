-- What was used from :since (null: 7 days before :until) until before :until (null: now) without a price of its model: at the
-- fallback rates, or at no cost at all (cost_source "unpriced"). By model and source, the most events first; model is null
-- where none was named.
WITH ends AS (
    SELECT COALESCE(CAST(:until AS timestamptz), now()) AS until
), edges AS (
    SELECT COALESCE(CAST(:since AS timestamptz), until - interval '168 hours') AS since, until FROM ends
)
SELECT
    ce.model_used AS model,
    ce.cost_source,
    COUNT(*) AS events,
    CAST(SUM(ce.input_tokens) AS bigint) AS input_tokens,
    CAST(SUM(ce.output_tokens) AS bigint) AS output_tokens,
    trim_scale(SUM(ce.credits_charged)) AS credits,
    MIN(ce.created_at) AS first_seen_at,
    MAX(ce.created_at) AS last_seen_at
FROM edges
JOIN credit_usage_events ce ON ce.created_at >= edges.since AND ce.created_at < edges.until
WHERE ce.cost_source IN ('fallback', 'unpriced')
GROUP BY ce.model_used, ce.cost_source
ORDER BY events DESC, ce.model_used, ce.cost_source
LIMIT :limit
