-- No hold has been open for more than five minutes after it expired: the sweep is alive.
SELECT 'hold ' || id || ' of user ' || user_id AS subject, 'has been open since it expired at ' || expires_at AS finding
FROM credit_holds
WHERE state = 'open' AND expires_at < now() - interval '5 minutes'
ORDER BY user_id, id
