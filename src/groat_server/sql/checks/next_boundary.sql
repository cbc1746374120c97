-- next_boundary_at is the earliest instant at which a balance changes by itself: its reset, the start of a lot, the end
-- of one that holds anything.
WITH earliest AS (
    SELECT cb.user_id, cb.next_boundary_at, least(cb.next_reset_at, min(
        CASE WHEN lot.version IS NULL THEN lot.starts_at ELSE lot.expires_at END
    ) FILTER (WHERE lot.remaining > 0)) AS instant
    FROM user_credit_balances cb
    LEFT JOIN credit_lots AS lot ON lot.user_id = cb.user_id
    GROUP BY cb.user_id
)
SELECT 'user ' || user_id AS subject,
    'next_boundary_at ' || next_boundary_at || ', the earliest is ' || instant AS finding
FROM earliest
WHERE next_boundary_at <> instant
    -- A lot that settled charges have emptied may still be waited for; then nothing happens.
    AND NOT (next_boundary_at < instant AND EXISTS (
        SELECT FROM credit_lots AS lot
        WHERE lot.user_id = earliest.user_id AND lot.remaining = 0 AND lot.expires_at = earliest.next_boundary_at
    ))
ORDER BY user_id
