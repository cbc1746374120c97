-- All balances, :limit at a time, sorted by :sort_by: consumed (this period, most first), total_consumed (most first), balance
-- (most first), email or next_reset_at; then by user. With :search only those of users whose e-mail address or name contains
-- it, in capitals or not. available is what can be charged at present: balance and overdraft less open holds. The next page
-- begins after the last row's sort keys; total counts the whole list.
WITH found AS MATERIALIZED (
    SELECT id AS user_id
    FROM users
    WHERE strpos(lower(email), lower(CAST(:search AS text))) > 0
        OR strpos(lower(full_name), lower(CAST(:search AS text))) > 0
), numbered AS (
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
        AND (CAST(:search AS text) IS NULL OR user_id IN (SELECT user_id FROM found))
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
            AND (CAST(:search AS text) IS NULL OR u.id IN (SELECT user_id FROM found))
            AND (
                CAST(:after_user_id AS bigint) IS NULL
                OR (u.email COLLATE "C", u.id) > (CAST(:after_text AS text), CAST(:after_user_id AS bigint))
            )
        ORDER BY u.email COLLATE "C", u.id
        LIMIT :limit
    )
)
SELECT u.id AS user_id, u.email, u.full_name, cb.current_balance, cb.monthly_allowance, cb.current_month_consumed,
    cb.total_consumed, cb.next_reset_at,
    trim_scale(
        cb.current_balance + cb.overdraft_limit - held_credits(cb.user_id, GREATEST(now(), cb.last_recorded_at))
    ) AS available,
    cb.last_event_at, u.is_admin, page.sort_number, page.sort_text,
    CASE
        WHEN CAST(:search AS text) IS NULL THEN (SELECT COUNT(*) FROM user_credit_balances)
        ELSE (SELECT COUNT(*) FROM found JOIN user_credit_balances AS counted ON counted.user_id = found.user_id)
    END AS total
FROM page
JOIN user_credit_balances cb ON cb.user_id = page.user_id
JOIN users u ON u.id = page.user_id
ORDER BY page.sort_number, page.sort_text, page.user_id
