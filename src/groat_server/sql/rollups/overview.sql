-- The report of the same name from the roll-ups: users are active whose newest event is in the window.
SELECT
    part.action_type,
    CAST(COALESCE(SUM(part.events), 0) AS bigint) AS event_count,
    COALESCE(trim_scale(SUM(part.credits)), 0) AS total_credits,
    COALESCE(trim_scale(SUM(part.refunded)), 0) AS refunded_credits,
    COALESCE(trim_scale(SUM(part.credits) - SUM(part.refunded)), 0) AS net_credits,
    COALESCE(trim_scale(SUM(part.api_cost)), 0) AS total_api_cost_dollars,
    CASE WHEN GROUPING(part.action_type) = 1 THEN (
        SELECT COUNT(*) FROM user_credit_balances AS account WHERE account.last_event_at
            > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
    ) END AS active_users
FROM usage_since(
    coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
) AS part
GROUP BY GROUPING SETS ((), (part.action_type))
HAVING GROUPING(part.action_type) = 1 OR SUM(part.events) > 0
ORDER BY GROUPING(part.action_type) DESC, total_credits DESC, part.action_type
