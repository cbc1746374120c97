-- Makes again the roll-ups of day :day over all users; returns how many rows were wrong.
SELECT hours, days, users FROM rebuild_day_rollups(CAST(:day AS date))
