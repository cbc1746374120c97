-- One user with the balance. The caller settles the account first, so that what is due has happened. A hold counts
-- until it expires, by the same clock as in a charge: never earlier than the last booking.
SELECT users.id, users.email, users.full_name, users.external_id, users.demo_mode, users.is_admin, users.time_zone,
    users.period_anchor, users.created_at, users.anonymised_at, balance.current_balance, balance.monthly_allowance, balance.current_month_consumed,
    balance.total_consumed, balance.overdraft_limit, balance.rollover_cap, holds.held,
    trim_scale(balance.current_balance + balance.overdraft_limit - holds.held) AS available,
    balance.period_start, balance.next_reset_at, balance.version
FROM users
LEFT JOIN user_credit_balances AS balance ON balance.user_id = users.id
CROSS JOIN LATERAL held_credits(users.id, greatest(now(), balance.last_recorded_at)) AS holds(held)
WHERE users.id = :user_id
