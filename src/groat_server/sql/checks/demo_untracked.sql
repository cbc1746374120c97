-- No user in demo mode has an event or a ledger entry.
SELECT 'user ' || u.id AS subject, 'is in demo mode and has ' || count(*) || ' ' || history.what AS finding
FROM (
    SELECT user_id, 'events' AS what FROM credit_usage_events
    UNION ALL
    SELECT user_id, 'ledger entries' FROM credit_ledger_entries
) AS history
JOIN users u ON u.id = history.user_id
WHERE u.demo_mode
GROUP BY u.id, history.what
ORDER BY u.id
