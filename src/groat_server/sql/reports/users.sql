-- All balances, :limit at a time, sorted by :sort_by: consumed (this period, most first), total_consumed (most first),
-- balance (most first), email or next_reset_at; then by user. The next page begins after the last row's sort keys.
WITH numbered AS (
    SELECT
        user_id,
        CASE CAST(:sort_by AS text)
            WHEN 'consumed' THEN -current_month_consumed
            WHEN 'total_consumed' THEN -total_consumed
            WHEN 'balance' THEN -current_balance
            ELSE extract(epoch FROM next_reset_at)
        END AS sort_number
    FROM user_credit_balances
    WHERE CAST(:sort_by AS text) <> 'email'
), page AS (
    -- Only the page meets its users: either the balances have the order, or the e-mail addresses.
    (
        SELECT user_id, sort_number, '' COLLATE "C" AS sort_text
        FROM numbered
        WHERE CAST(:after_user_id AS bigint) IS NULL
            OR (sort_number, user_id) > (CAST(:after_number AS numeric), CAST(:after_user_id AS bigint))
        ORDER BY sort_number, user_id
        LIMIT :limit
    )
    UNION ALL
    (
        SELECT u.id, 0, u.email COLLATE "C"
        FROM users u
        JOIN user_credit_balances cb ON cb.user_id = u.id
        WHERE CAST(:sort_by AS text) = 'email'
            AND (
                CAST(:after_user_id AS bigint) IS NULL
                OR (u.email COLLATE "C", u.id) > (CAST(:after_text AS text), CAST(:after_user_id AS bigint))
            )
        ORDER BY u.email COLLATE "C", u.id
        LIMIT :limit
    )
)
SELECT u.id AS user_id, u.email, u.full_name, cb.current_balance, cb.monthly_allowance, cb.current_month_consumed,
    cb.total_consumed, cb.next_reset_at, page.sort_number, page.sort_text,
    (SELECT COUNT(*) FROM user_credit_balances) AS total
FROM page
JOIN user_credit_balances cb ON cb.user_id = page.user_id
JOIN users u ON u.id = page.user_id
ORDER BY page.sort_number, page.sort_text, page.user_id
