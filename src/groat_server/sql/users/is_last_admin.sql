-- Whether a user is the only administrator; nobody else's role is taken until the transaction ends.
SELECT coalesce(is_last_admin(CAST(:user_id AS bigint)), false) AS is_last_admin
