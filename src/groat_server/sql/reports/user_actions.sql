-- What user :user_id used by action type in the last :days days before :as_of (null: now); refunded_credits is what was given
-- back of these very events, whenever that was.
WITH refunds AS (
    SELECT event_id, SUM(amount) AS refunded
    FROM credit_ledger_entries
    WHERE user_id = :user_id AND event_id IS NOT NULL AND kind = 'refund'
    GROUP BY event_id
)
SELECT
    ce.action_type,
    COUNT(*) AS event_count,
    trim_scale(SUM(ce.credits_charged)) AS total_credits,
    COALESCE(trim_scale(SUM(refunds.refunded)), 0) AS refunded_credits,
    trim_scale(SUM(ce.credits_charged - COALESCE(refunds.refunded, 0))) AS net_credits,
    COALESCE(trim_scale(SUM(ce.api_cost)), 0) AS total_api_cost_dollars
FROM credit_usage_events ce
LEFT JOIN refunds ON refunds.event_id = ce.id
WHERE ce.user_id = :user_id
    AND ce.created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
GROUP BY ce.action_type
ORDER BY total_credits DESC, ce.action_type
