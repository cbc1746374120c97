-- Appends price versions of the catalogue, given as arrays of one length, in their order, and makes a new version of the
-- price book. A start that is null has always been. Nothing that is there is edited.
-- Out: the price book's new version. The caller holds its row (lock_book), so that no two append the same.
WITH appended AS (
    INSERT INTO price_versions (kind, name, provider, source, valid_from, valid_to, daily_from, daily_to, rates)
    SELECT 'model', name, provider, 'catalogue', coalesce(valid_from, '-infinity'), valid_to, daily_from, daily_to,
        CAST(rates AS jsonb)
    FROM unnest(
        CAST(:names AS text[]), CAST(:providers AS text[]), CAST(:valid_froms AS timestamptz[]),
        CAST(:valid_tos AS timestamptz[]), CAST(:daily_froms AS time[]), CAST(:daily_tos AS time[]),
        CAST(:rates AS text[])
    ) WITH ORDINALITY AS offered (name, provider, valid_from, valid_to, daily_from, daily_to, rates, position)
    ORDER BY position
)
UPDATE price_book
SET version = version + 1, catalogue_version = :catalogue_version
RETURNING version
