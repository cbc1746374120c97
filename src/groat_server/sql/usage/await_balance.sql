-- Waits until nobody else has the balance locked, no longer than the connection's lock_timeout; what is due for the user
-- happens on the way. Nothing stays locked: the charges that follow take their place in the row's queue.
SELECT settle_account(CAST(:user_id AS bigint)) AS instant
