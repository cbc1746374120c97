-- No open hold lasts longer than its user's held_until, after which charges look for none.
SELECT 'hold ' || hold.id || ' of user ' || hold.user_id AS subject,
    'lasts to ' || hold.expires_at || ', held_until is ' || coalesce(CAST(cb.held_until AS text), 'null') AS finding
FROM credit_holds AS hold
JOIN user_credit_balances cb ON cb.user_id = hold.user_id
WHERE hold.state = 'open' AND coalesce(cb.held_until < hold.expires_at, true)
ORDER BY hold.user_id, hold.id
