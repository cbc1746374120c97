-- The server keeps what it acknowledges through a power cut.
SELECT name AS subject, 'is ' || setting AS finding
FROM pg_settings
WHERE (name IN ('fsync', 'full_page_writes') AND setting <> 'on')
    OR (name = 'synchronous_commit' AND setting NOT IN ('on', 'remote_apply'))
ORDER BY name
