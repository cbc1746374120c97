-- Every user has a balance, unless in demo mode; then there is none.
SELECT 'user ' || u.id AS subject,
    CASE WHEN u.demo_mode THEN 'is in demo mode and has a balance' ELSE 'has no balance' END AS finding
FROM users u
LEFT JOIN user_credit_balances cb ON cb.user_id = u.id
WHERE u.demo_mode = (cb.user_id IS NOT NULL)
ORDER BY u.id
