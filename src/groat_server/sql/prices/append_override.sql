-- Appends one price of our own and makes a new version of the price book. `valid_from` absent: from now on.
-- Out: the row as stored, or none where it would end before it starts; the caller then rolls back. The book's row is locked first, and only then the clock is read and the id drawn: a price that
-- was set later starts later and has the higher id, whoever waited for whom.
WITH book AS (
    UPDATE price_book SET version = version + 1 RETURNING version
),
span AS (
    SELECT coalesce(CAST(:valid_from AS timestamptz), clock_timestamp()) AS valid_from,
        CAST(:valid_to AS timestamptz) AS valid_to
    FROM book
)
INSERT INTO price_versions (kind, name, provider, source, valid_from, valid_to, rates, multiplier, note)
SELECT :kind, :name, :provider, 'override', valid_from, valid_to, CAST(:rates AS jsonb),
    CAST(:multiplier AS numeric), :note
FROM span
WHERE valid_to IS NULL OR valid_to > valid_from
RETURNING id, kind, name, provider, source, NULLIF(valid_from, '-infinity') AS valid_from, valid_to, daily_from,
    daily_to, rates, multiplier, note, recorded_at
