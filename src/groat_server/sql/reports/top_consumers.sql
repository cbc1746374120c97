-- The :limit users who consumed most in the last :days days before :as_of (null: now), each with the share of everyone's
-- consumption.
WITH consumed AS (
    SELECT
        u.id AS user_id,
        u.email,
        u.full_name,
        COUNT(ce.id) AS events,
        trim_scale(SUM(ce.credits_charged)) AS total_credits,
        COALESCE(trim_scale(SUM(ce.api_cost)), 0) AS total_api_cost_dollars
    FROM credit_usage_events ce
    JOIN users u ON u.id = ce.user_id
    WHERE ce.created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
    GROUP BY u.id, u.email, u.full_name
)
SELECT
    ROW_NUMBER() OVER (ORDER BY total_credits DESC, user_id) AS rank,
    user_id, email, full_name, events, total_credits, total_api_cost_dollars,
    COALESCE(trim_scale(ROUND(100 * ROUND(total_credits, 24) / NULLIF(SUM(total_credits) OVER (), 0), 2)), 0) AS share_percent
FROM consumed
ORDER BY rank
LIMIT :limit
