-- Gives up this session's claim on the import of one file.
SELECT pg_advisory_unlock(
    hashtextextended('groat import ' || current_schema() || ' ' || encode(CAST(:digest AS bytea), 'hex'), 0)
) AS claimed
