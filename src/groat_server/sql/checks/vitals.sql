-- Seconds since the newest event (NaN: there is none), users without a balance, resets overdue by five minutes, open
-- holds and what they set aside.
SELECT
    coalesce(
        (SELECT extract(epoch FROM now() - created_at) FROM credit_usage_events ORDER BY created_at DESC LIMIT 1), 'NaN'
    ) AS last_event_age_seconds,
    (
        SELECT count(*) FROM users u
        WHERE NOT u.demo_mode AND NOT EXISTS (SELECT FROM user_credit_balances cb WHERE cb.user_id = u.id)
    ) AS users_without_balance,
    (
        SELECT count(*) FROM user_credit_balances WHERE next_boundary_at < now() - interval '5 minutes'
    ) AS overdue_resets,
    holds.open_holds,
    holds.held_credits
FROM (
    SELECT count(*) AS open_holds, coalesce(trim_scale(sum(amount)), 0) AS held_credits
    FROM credit_holds
    WHERE state = 'open' AND expires_at > now()
) AS holds
