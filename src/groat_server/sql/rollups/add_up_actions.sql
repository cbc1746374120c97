-- Adds up the actions of at most :most days of many events that are over; returns how many it did.
SELECT add_up_actions(CAST(:most AS integer)) AS count
