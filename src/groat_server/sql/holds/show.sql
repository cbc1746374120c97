-- One hold as of now: an open one whose time has come is expired, whether or not the sweep has written that down.
SELECT id, user_id, CASE WHEN state = 'open' AND expires_at <= now() THEN 'expired' ELSE state END AS state, amount,
    created_at, expires_at, released_at, captured_at, event_id, action_type, model, description
FROM credit_holds
WHERE user_id = :user_id AND id = :hold_id
