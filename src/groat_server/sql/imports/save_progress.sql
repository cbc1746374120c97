-- Saves how far an import is, in one statement, and never less far than was saved before.
UPDATE import_jobs
SET next_line = greatest(next_line, CAST(:next_line AS bigint)),
    recorded = greatest(recorded, CAST(:recorded AS bigint)),
    replayed = greatest(replayed, CAST(:replayed AS bigint)),
    rejected = greatest(rejected, CAST(:rejected AS bigint)),
    finished_at = CASE WHEN CAST(:is_finished AS boolean) THEN coalesce(finished_at, clock_timestamp()) ELSE finished_at END
WHERE id = :id
RETURNING next_line
