-- The first :limit prices in force at :as_of (null: now), those that were set by hand first; with :search (null: no), those whose
-- name or provider contains it; with :kind (null: no), those of models or of actions. One row for each kind, name, provider and source, chosen as charges choose it.
WITH present AS (
    SELECT now.instant, CAST(now.instant AT TIME ZONE 'UTC' AS time) AS hour
    FROM (SELECT coalesce(CAST(:as_of AS timestamptz), now()) AS instant) AS now
), newest AS (
    SELECT DISTINCT ON (kind, name, provider, source, valid_from, daily_from, daily_to) *
    FROM price_versions
    WHERE (CAST(:kind AS text) IS NULL OR kind = CAST(:kind AS text))
        AND (
            CAST(:search AS text) IS NULL
            OR strpos(lower(name), lower(CAST(:search AS text))) > 0
            OR strpos(lower(provider), lower(CAST(:search AS text))) > 0
        )
    ORDER BY kind, name, provider, source, valid_from, daily_from, daily_to, id DESC
), in_force AS (
    SELECT DISTINCT ON (newest.kind, newest.name, newest.provider, newest.source) newest.*
    FROM newest
    CROSS JOIN present
    WHERE newest.valid_from <= present.instant
        AND (newest.valid_to IS NULL OR present.instant < newest.valid_to)
        AND CASE
            WHEN newest.daily_from IS NULL THEN true
            WHEN newest.daily_to < newest.daily_from
                THEN present.hour >= newest.daily_from OR present.hour < newest.daily_to
            ELSE present.hour >= newest.daily_from AND present.hour < newest.daily_to
        END
    ORDER BY newest.kind, newest.name, newest.provider, newest.source, (newest.daily_from IS NOT NULL) DESC,
        newest.valid_from DESC, newest.id DESC
)
SELECT id, kind, name, provider, source, NULLIF(valid_from, '-infinity') AS valid_from, valid_to,
    CAST(daily_from AS text) AS daily_from, CAST(daily_to AS text) AS daily_to, CAST(rates AS text) AS rates, multiplier,
    note, recorded_at
FROM in_force
ORDER BY source DESC, kind, name, provider, id
LIMIT :limit
