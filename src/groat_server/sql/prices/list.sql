-- The price versions in force at `at`, our own first; with a `query`, those whose name or provider contains it, and
-- that very name before others.
-- One row for each kind, name, provider and source, chosen as charges choose it (core/price_book.py): of rows with the
-- same start and hours the newest; of those in force one with hours before one that holds all day, then the latest
-- start, then the newest row.
WITH newest AS (
    SELECT DISTINCT ON (kind, name, provider, source, valid_from, daily_from, daily_to) *
    FROM price_versions
    WHERE CAST(:query AS text) IS NULL
        OR strpos(lower(name), lower(CAST(:query AS text))) > 0
        OR strpos(lower(provider), lower(CAST(:query AS text))) > 0
    ORDER BY kind, name, provider, source, valid_from, daily_from, daily_to, id DESC
),
in_force AS (
    SELECT DISTINCT ON (newest.kind, newest.name, newest.provider, newest.source) newest.*
    FROM newest, CAST(CAST(:at AS timestamptz) AT TIME ZONE 'UTC' AS time) AS hour
    WHERE newest.valid_from <= CAST(:at AS timestamptz)
        AND (newest.valid_to IS NULL OR CAST(:at AS timestamptz) < newest.valid_to)
        AND CASE
            WHEN newest.daily_from IS NULL THEN true
            WHEN newest.daily_to < newest.daily_from THEN hour >= newest.daily_from OR hour < newest.daily_to
            ELSE hour >= newest.daily_from AND hour < newest.daily_to
        END
    ORDER BY newest.kind, newest.name, newest.provider, newest.source, (newest.daily_from IS NOT NULL) DESC,
        newest.valid_from DESC, newest.id DESC
)
SELECT id, kind, name, provider, source, NULLIF(valid_from, '-infinity') AS valid_from, valid_to, daily_from, daily_to,
    rates, multiplier, note, recorded_at
FROM in_force
ORDER BY source DESC, lower(name) = lower(CAST(:query AS text)) DESC, kind, name, provider, id
LIMIT :limit
