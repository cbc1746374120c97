-- The report of the same name from the roll-ups: by a threshold algorithm (top_consumers_since), everyone's consumption
-- from the sums over all users.
WITH edge AS (
    SELECT coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer)) AS since
), consumed AS (
    SELECT trim_scale(SUM(part.credits)) AS credits FROM usage_since((SELECT since FROM edge)) AS part
)
SELECT
    ROW_NUMBER() OVER (ORDER BY consumer.credits DESC, consumer.user_id) AS rank,
    consumer.user_id, u.email, u.full_name, consumer.events, trim_scale(consumer.credits) AS total_credits,
    trim_scale(consumer.api_cost) AS total_api_cost_dollars,
    COALESCE(
        trim_scale(ROUND(100 * ROUND(consumer.credits, 24) / NULLIF((SELECT credits FROM consumed), 0), 2)), 0
    ) AS share_percent
FROM top_consumers_since((SELECT since FROM edge), CAST(:limit AS bigint)) AS consumer
JOIN users u ON u.id = consumer.user_id
ORDER BY rank
