-- Totals of the last :days days before :as_of (null: now), in all (action_type null) and by action type. Credits are gross
-- of refunds and net of voids; refunded_credits is what was given back of these very events, whenever that was. Users are
-- counted in all only.
WITH refunds AS (
    SELECT user_id, event_id, SUM(amount) AS refunded
    FROM credit_ledger_entries
    WHERE event_id IS NOT NULL AND kind = 'refund'
    GROUP BY user_id, event_id
)
SELECT
    ce.action_type,
    COUNT(*) AS event_count,
    COALESCE(trim_scale(SUM(ce.credits_charged)), 0) AS total_credits,
    COALESCE(trim_scale(SUM(refunds.refunded)), 0) AS refunded_credits,
    COALESCE(trim_scale(SUM(ce.credits_charged - COALESCE(refunds.refunded, 0))), 0) AS net_credits,
    COALESCE(trim_scale(SUM(ce.api_cost)), 0) AS total_api_cost_dollars,
    CASE WHEN GROUPING(ce.action_type) = 1 THEN COUNT(DISTINCT ce.user_id) END AS active_users
FROM credit_usage_events ce
LEFT JOIN refunds ON refunds.user_id = ce.user_id AND refunds.event_id = ce.id
WHERE ce.created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
GROUP BY GROUPING SETS ((), (ce.action_type))
ORDER BY GROUPING(ce.action_type) DESC, total_credits DESC, ce.action_type
