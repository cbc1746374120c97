-- Carries out what is due at an instant of the caller's choice, for sample data only.
SELECT sweep_due_at(CAST(:at AS timestamptz), CAST(:batch AS integer)) AS count
