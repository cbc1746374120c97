-- What the lots hold, less what is owed, is the balance and what was consumed since the last boundary.
WITH consumed AS (
    SELECT user_id, sum(amount) AS amount
    FROM (
        SELECT user_id, credits_charged AS amount FROM credit_usage_events
        UNION ALL
        SELECT user_id, credits_charged FROM voided_credit_usage_events
        UNION ALL
        SELECT user_id, -amount FROM credit_ledger_entries WHERE kind = 'adjustment' AND amount < 0
    ) AS uses
    GROUP BY user_id
), held AS (
    SELECT user_id, sum(remaining) AS amount FROM credit_lots WHERE version IS NOT NULL GROUP BY user_id
), owed AS (
    SELECT user_id, sum(amount) AS amount FROM credit_lot_draws WHERE lot_id IS NULL GROUP BY user_id
)
SELECT 'user ' || cb.user_id AS subject,
    'lots hold ' || coalesce(held.amount, 0) || ', debts are ' || coalesce(owed.amount, 0) || ', the balance is '
        || cb.current_balance || ', consumed ' || coalesce(consumed.amount, 0) || ', allocated ' || cb.allocated
        AS finding
FROM user_credit_balances cb
LEFT JOIN consumed ON consumed.user_id = cb.user_id
LEFT JOIN held ON held.user_id = cb.user_id
LEFT JOIN owed ON owed.user_id = cb.user_id
WHERE coalesce(held.amount, 0) - coalesce(owed.amount, 0)
    <> cb.current_balance + coalesce(consumed.amount, 0) - cb.allocated
ORDER BY cb.user_id
