-- Charges against API costs in the last :days days before :as_of (null: now), by action type. The difference is 0 at ten
-- credits a dollar and no margin; the check of the same name recomputes each event from its own factors.
SELECT
    action_type,
    trim_scale(SUM(credits_charged)) AS total_credits_charged,
    trim_scale(SUM(api_cost) * 10) AS expected_credits_from_api,
    trim_scale(SUM(credits_charged) - (SUM(api_cost) * 10)) AS difference
FROM credit_usage_events
WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
    AND api_cost > 0
GROUP BY action_type
ORDER BY action_type
