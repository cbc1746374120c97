-- The days that have events or roll-ups, and those between, from the first.
SELECT day FROM rollup_days() AS day ORDER BY day
