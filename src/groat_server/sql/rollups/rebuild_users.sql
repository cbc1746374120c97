-- Makes again the roll-ups of the next users after :after_user_id, who have about :most events together; returns the last of
-- them, null where there are no more, and how many rows were wrong.
SELECT last_user_id, accounts, user_days, actions
FROM rebuild_user_rollups(CAST(:after_user_id AS bigint), CAST(:most AS bigint))
