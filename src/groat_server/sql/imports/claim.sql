-- Claims the import of one file for this session, until it is released or the session ends. Never waits.
SELECT pg_try_advisory_lock(
    hashtextextended('groat import ' || current_schema() || ' ' || encode(CAST(:digest AS bytea), 'hex'), 0)
) AS claimed
