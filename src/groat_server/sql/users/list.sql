-- Users in order of their ids, after a cursor; with a search text, those whose e-mail or name contains it.
SELECT users.id, users.email, users.full_name, users.external_id, users.demo_mode, users.is_admin, users.time_zone,
    users.period_anchor, users.created_at, users.anonymised_at, balance.current_balance, balance.monthly_allowance, balance.current_month_consumed,
    balance.total_consumed, balance.overdraft_limit, balance.rollover_cap, holds.held,
    trim_scale(balance.current_balance + balance.overdraft_limit - holds.held) AS available,
    balance.period_start, balance.next_reset_at, balance.version
FROM users
LEFT JOIN user_credit_balances AS balance ON balance.user_id = users.id
CROSS JOIN LATERAL held_credits(users.id, greatest(now(), balance.last_recorded_at)) AS holds(held)
WHERE users.id > :after
    AND (
        CAST(:search AS text) IS NULL
        OR strpos(users.email, lower(CAST(:search AS text))) > 0
        OR strpos(lower(users.full_name), lower(CAST(:search AS text))) > 0
    )
ORDER BY users.id
LIMIT :limit
