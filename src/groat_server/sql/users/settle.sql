-- Carries out what is due for one user, if anything is: only then is the balance row locked.
SELECT count(settle_account(user_id)) AS count
FROM user_credit_balances
WHERE user_id = CAST(:user_id AS bigint) AND next_boundary_at <= clock_timestamp()
