-- All balances, :limit at a time, sorted by :sort_by: consumed (this period, most first), total_consumed (most first),
-- balance (most first), email or next_reset_at; then by user. The next page begins after the last row's sort keys.
WITH sorted AS (
    SELECT
        u.id AS user_id,
        u.email,
        u.full_name,
        cb.current_balance,
        cb.monthly_allowance,
        cb.current_month_consumed,
        cb.total_consumed,
        cb.next_reset_at,
        CASE CAST(:sort_by AS text)
            WHEN 'consumed' THEN -cb.current_month_consumed
            WHEN 'total_consumed' THEN -cb.total_consumed
            WHEN 'balance' THEN -cb.current_balance
            WHEN 'next_reset_at' THEN extract(epoch FROM cb.next_reset_at)
            ELSE 0
        END AS sort_number,
        CASE CAST(:sort_by AS text) WHEN 'email' THEN u.email ELSE '' END COLLATE "C" AS sort_text,
        COUNT(*) OVER () AS total
    FROM user_credit_balances cb
    JOIN users u ON u.id = cb.user_id
)
SELECT user_id, email, full_name, current_balance, monthly_allowance, current_month_consumed, total_consumed,
    next_reset_at, sort_number, sort_text, total
FROM sorted
WHERE CAST(:after_user_id AS bigint) IS NULL
    OR (sort_number, sort_text, user_id)
        > (CAST(:after_number AS numeric), CAST(:after_text AS text), CAST(:after_user_id AS bigint))
ORDER BY sort_number, sort_text, user_id
LIMIT :limit
