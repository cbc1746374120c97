-- What is set aside of user :user_id's credits: the holds that are open and have not expired, the soonest to expire first.
SELECT 'hold_' || hold.user_id || '_' || hold.id AS id, hold.amount, hold.created_at, hold.expires_at, hold.action_type,
    hold.model, hold.description
FROM credit_holds AS hold
LEFT JOIN user_credit_balances AS balance ON balance.user_id = hold.user_id
WHERE hold.user_id = :user_id AND hold.state = 'open'
    AND hold.expires_at > greatest(now(), balance.last_recorded_at)
ORDER BY hold.expires_at, hold.id
LIMIT :limit
