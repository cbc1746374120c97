-- The :limit users whose credits end soonest at the pace of the last :days days before :as_of (null: now). available is what
-- can be charged at present: balance and overdraft less open holds. days_left is null where nothing was used, 0 where
-- nothing is left, and 1,000,000 at most. Anonymised users are left out.
WITH burned AS (
    SELECT user_id, SUM(credits_charged) AS credits
    FROM credit_usage_events
    WHERE created_at > coalesce(CAST(:as_of AS timestamptz), now()) - make_interval(days => CAST(:days AS integer))
    GROUP BY user_id
), held AS (
    SELECT hold.user_id, SUM(hold.amount) AS credits
    FROM credit_holds AS hold
    JOIN user_credit_balances AS balance ON balance.user_id = hold.user_id
    WHERE hold.state = 'open' AND hold.expires_at > GREATEST(now(), balance.last_recorded_at)
    GROUP BY hold.user_id
), accounts AS (
    SELECT
        balance.user_id,
        trim_scale(balance.current_balance + balance.overdraft_limit - COALESCE(held.credits, 0)) AS available,
        COALESCE(burned.credits, 0) AS credits,
        balance.next_reset_at
    FROM user_credit_balances AS balance
    LEFT JOIN burned ON burned.user_id = balance.user_id
    LEFT JOIN held ON held.user_id = balance.user_id
), paced AS (
    SELECT *, GREATEST(available, 0) * CAST(:days AS integer) / NULLIF(credits, 0) AS exact_days FROM accounts
)
SELECT
    paced.user_id,
    users.email,
    users.full_name,
    paced.available,
    trim_scale(ROUND(paced.credits / CAST(:days AS integer), 12)) AS credits_per_day,
    CASE WHEN paced.credits > 0 THEN LEAST(trim_scale(ROUND(paced.exact_days, 2)), 1000000) END AS days_left,
    paced.next_reset_at
FROM paced
JOIN users ON users.id = paced.user_id
WHERE users.anonymised_at IS NULL
ORDER BY paced.exact_days, paced.user_id
LIMIT :limit
