-- Writes down why something was done to user :user_id, in the transaction of the act, which has a row of its own. The reason goes
-- with the user's other texts when the user is anonymised.
INSERT INTO audit_log (recorded_at, actor, act, user_id, details)
VALUES (
    clock_timestamp(), CAST(:actor AS text), 'reason', CAST(:user_id AS bigint),
    jsonb_build_object('reason', CAST(:reason AS text))
)
RETURNING user_id
