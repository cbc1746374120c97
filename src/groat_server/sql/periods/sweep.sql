-- Carries out what is due for up to :batch users; the count says for how many it was.
SELECT sweep_due(CAST(:batch AS integer)) AS count
