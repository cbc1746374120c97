-- All versions of the prices of a model or an action (:kind) of exactly this :name, whoever the provider, latest start
-- first: at most :limit. Of rows with the same start and hours, provider and source the newest replaces the others.
SELECT id, kind, name, provider, source, NULLIF(valid_from, '-infinity') AS valid_from, valid_to,
    CAST(daily_from AS text) AS daily_from, CAST(daily_to AS text) AS daily_to, CAST(rates AS text) AS rates, multiplier,
    note, recorded_at
FROM price_versions
WHERE kind = CAST(:kind AS text) AND name = CAST(:name AS text)
ORDER BY price_versions.valid_from DESC, id DESC
LIMIT :limit
