-- One user's lots, newest first, before a cursor, with what is left of each as of now.
-- A lot's own column says what was left at the last boundary. What was consumed since is taken off here, in lot order.
WITH drawable AS (
    SELECT lot_id, remaining, before FROM lots_in_order(CAST(:user_id AS bigint))
),
unallocated AS (
    SELECT coalesce((SELECT sum(remaining) FROM drawable), 0)
        - coalesce((SELECT sum(amount) FROM credit_lot_draws WHERE user_id = :user_id AND lot_id IS NULL), 0)
        - current_balance AS credits
    FROM user_credit_balances
    WHERE user_id = :user_id
)
SELECT lot.id, lot.kind, lot.amount,
    trim_scale(
        lot.remaining
        - greatest(0, least(drawable.remaining, unallocated.credits - drawable.before))
    ) AS remaining,
    lot.priority, lot.cost_basis, lot.starts_at, lot.expires_at, lot.version, lot.reason, lot.actor
FROM credit_lots AS lot
LEFT JOIN drawable ON drawable.lot_id = lot.id
LEFT JOIN unallocated ON true
WHERE lot.user_id = :user_id AND (CAST(:before_id AS bigint) IS NULL OR lot.id < CAST(:before_id AS bigint))
ORDER BY lot.id DESC
LIMIT :limit
