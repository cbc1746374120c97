-- The balance of user :user_id right after the last booking that was made not later than :at, and all that was charged and not
-- voided by then. What has been voided since still counts at its place. Version 0 and no booking where there was none yet.
WITH moves AS (
    SELECT version, recorded_at, balance_after, credits_charged AS consumed
    FROM credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT version, recorded_at, balance_after, credits_charged
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT void_version, voided_at, void_balance_after, -credits_charged
    FROM voided_credit_usage_events WHERE user_id = :user_id
    UNION ALL
    SELECT version, recorded_at, balance_after, 0
    FROM credit_ledger_entries WHERE user_id = :user_id
), past AS (
    SELECT max(version) AS version, trim_scale(sum(consumed)) AS total_consumed
    FROM moves WHERE recorded_at <= CAST(:at AS timestamptz)
)
SELECT
    coalesce(moves.balance_after, 0) AS balance,
    coalesce(past.total_consumed, 0) AS total_consumed,
    coalesce(past.version, 0) AS version,
    moves.recorded_at
FROM past
LEFT JOIN moves ON moves.version = past.version
