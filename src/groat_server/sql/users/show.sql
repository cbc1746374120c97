-- One user with the balance. The caller settles the account first, so that what is due has happened.
SELECT users.id, users.email, users.full_name, users.external_id, users.demo_mode, users.is_admin, users.time_zone,
    users.created_at, balance.current_balance, balance.monthly_allowance, balance.current_month_consumed,
    balance.total_consumed, balance.overdraft_limit, CAST(0 AS numeric) AS held,
    trim_scale(balance.current_balance + balance.overdraft_limit) AS available, balance.next_reset_at, balance.version
FROM users
LEFT JOIN user_credit_balances AS balance ON balance.user_id = users.id
WHERE users.id = :user_id
