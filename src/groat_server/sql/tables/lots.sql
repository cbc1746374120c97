-- The newest :limit lots of user :user_id or (null) of all, with what is left of each at present.
SELECT id, user_id, email, kind, amount, remaining, priority, cost_basis_dollars, starts_at, expires_at, reason, actor
FROM v_lots
WHERE CAST(:user_id AS bigint) IS NULL OR user_id = CAST(:user_id AS bigint)
ORDER BY starts_at DESC, user_id, id DESC
LIMIT :limit
