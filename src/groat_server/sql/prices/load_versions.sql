-- Every price version of one source, or of both where `source` is null, oldest row first.
-- The driver cannot read -infinity: a start that is null here has always been.
SELECT id, kind, name, provider, source, NULLIF(valid_from, '-infinity') AS valid_from, valid_to, daily_from, daily_to,
    rates, multiplier, note, recorded_at
FROM price_versions
WHERE CAST(:source AS text) IS NULL OR source = CAST(:source AS text)
ORDER BY id
