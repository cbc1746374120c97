-- What moved the balance of user :user_id from :period_start until before :period_end, by when it was booked: entries by kind,
-- charges and voids by action type. A charge that was voided later is a charge here and a void where that was booked.
WITH moves AS (
    SELECT 'charge' AS kind, action_type, recorded_at, -credits_charged AS amount
    FROM credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT 'charge', action_type, recorded_at, -credits_charged
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT 'void', action_type, voided_at, credits_charged
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT kind, NULL, recorded_at, amount
    FROM credit_ledger_entries WHERE user_id = :user_id
)
SELECT kind, action_type, count(*) AS count, trim_scale(sum(amount)) AS amount
FROM moves
WHERE recorded_at >= CAST(:period_start AS timestamptz) AND recorded_at < CAST(:period_end AS timestamptz)
GROUP BY kind, action_type
ORDER BY array_position(
    ARRAY['allowance', 'rollover', 'purchase', 'promotion', 'adjustment', 'charge', 'void', 'refund', 'expiry'], kind
), action_type
