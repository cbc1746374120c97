-- Carries out what is due for user :user_id and returns the instant up to which the books are complete: taken under the lock of
-- the balance, so that whatever is booked later is booked at that instant or after it. Null without a balance.
SELECT settle_account(CAST(:user_id AS bigint)) AS instant
