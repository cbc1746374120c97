-- Writes down that up to :batch holds have expired.
SELECT sweep_holds(CAST(:batch AS integer)) AS count
