-- The database's present.
SELECT clock_timestamp() AS instant
