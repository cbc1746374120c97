-- Carries out what is due for one user. Locks the balance row.
SELECT count(settle_account_at(NULL, CAST(:user_id AS bigint))) AS count
