-- No boundary has been due for more than five minutes: the sweep is alive.
SELECT 'user ' || user_id AS subject, 'has been due since ' || next_boundary_at AS finding
FROM user_credit_balances
WHERE next_boundary_at < now() - interval '5 minutes'
ORDER BY user_id
