-- The first :limit users in the order of their ids, each with the balance; those in demo mode have none. With :search (null: no),
-- those whose e-mail address or name contains it.
SELECT user_id, email, full_name, external_id, demo_mode, is_admin, created_at, anonymised_at, balance, held, available,
    overdraft_limit, monthly_allowance, period_consumed, total_consumed, period_start, next_reset_at, last_event_at
FROM v_user_balances
WHERE CAST(:search AS text) IS NULL
    OR strpos(email, lower(CAST(:search AS text))) > 0
    OR strpos(lower(full_name), lower(CAST(:search AS text))) > 0
ORDER BY user_id
LIMIT :limit
