-- No user in demo mode has an event, a ledger entry, a lot, a hold or a key.
SELECT 'user ' || u.id AS subject, 'is in demo mode and has ' || count(*) || ' ' || history.what AS finding
FROM (
    SELECT user_id, 'events' AS what FROM credit_usage_events
    UNION ALL SELECT user_id, 'voided events' FROM voided_credit_usage_events
    UNION ALL SELECT user_id, 'ledger entries' FROM credit_ledger_entries
    UNION ALL SELECT user_id, 'lots' FROM credit_lots
    UNION ALL SELECT user_id, 'draws' FROM credit_lot_draws
    UNION ALL SELECT user_id, 'returns' FROM credit_lot_returns
    UNION ALL SELECT user_id, 'holds' FROM credit_holds
    UNION ALL SELECT user_id, 'operations' FROM credit_operations
) AS history
JOIN users u ON u.id = history.user_id
WHERE u.demo_mode
GROUP BY u.id, history.what
ORDER BY u.id, history.what
