-- What is left of a lot is its amount and what came back to it, less what was drawn from it and what expired of it.
WITH moved AS (
    SELECT user_id, lot_id, sum(amount) AS amount
    FROM (
        SELECT user_id, lot_id, -amount AS amount FROM credit_lot_draws WHERE lot_id IS NOT NULL
        UNION ALL
        SELECT user_id, returned_to, amount FROM credit_lot_returns WHERE returned_to = drawn_from
        UNION ALL
        SELECT user_id, lot_id, amount FROM credit_ledger_entries WHERE kind = 'expiry' AND lot_id IS NOT NULL
    ) AS moves
    GROUP BY user_id, lot_id
)
SELECT 'lot ' || coalesce(lot.id, moved.lot_id) || ' of user ' || coalesce(lot.user_id, moved.user_id) AS subject,
    CASE
        WHEN lot.id IS NULL THEN 'is not there, yet was drawn on'
        ELSE 'has ' || lot.remaining || ' left of ' || lot.amount || ', by its moves '
            || trim_scale(lot.amount + coalesce(moved.amount, 0))
    END AS finding
FROM credit_lots AS lot
FULL JOIN moved ON moved.user_id = lot.user_id AND moved.lot_id = lot.id
WHERE lot.id IS NULL OR lot.remaining <> lot.amount + coalesce(moved.amount, 0)
ORDER BY coalesce(lot.user_id, moved.user_id), coalesce(lot.id, moved.lot_id)
