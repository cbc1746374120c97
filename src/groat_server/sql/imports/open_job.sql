-- The job of a file with its options; made where there is none. Whoever calls it has claimed the file.
-- In:  with `until_now`, the latest time in the file; null: times stay as they are.
-- A shift is chosen once for a file: another job of it, with other options beside, takes the same, so that keys in the
-- file meet the same times again.
WITH chosen AS (
    SELECT coalesce(
        (
            SELECT shift FROM import_jobs
            WHERE digest = CAST(:digest AS bytea)
                AND options -> 'until_now' = CAST(:options AS jsonb) -> 'until_now'
            ORDER BY id LIMIT 1
        ),
        clock_timestamp() - CAST(:latest AS timestamptz),
        interval '0'
    ) AS shift
), added AS (
    INSERT INTO import_jobs (digest, file_name, options, shift)
    SELECT CAST(:digest AS bytea), :file_name, CAST(:options AS jsonb), shift FROM chosen
    ON CONFLICT ON CONSTRAINT import_jobs_digest_key DO NOTHING
    RETURNING id, shift, next_line, recorded, replayed, rejected, finished_at
)
SELECT id, shift, next_line, recorded, replayed, rejected, finished_at, clock_timestamp() AS instant FROM added
UNION ALL
SELECT id, shift, next_line, recorded, replayed, rejected, finished_at, clock_timestamp()
FROM import_jobs
WHERE digest = CAST(:digest AS bytea) AND options = CAST(:options AS jsonb)
