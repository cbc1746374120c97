-- Every row of the ledger belongs to a user there is.
SELECT 'user ' || owned.user_id AS subject, 'is not there and has ' || count(*) || ' ' || owned.what AS finding
FROM (
    SELECT user_id, 'balances' AS what FROM user_credit_balances
    UNION ALL SELECT user_id, 'events' FROM credit_usage_events
    UNION ALL SELECT user_id, 'voided events' FROM voided_credit_usage_events
    UNION ALL SELECT user_id, 'ledger entries' FROM credit_ledger_entries
    UNION ALL SELECT user_id, 'lots' FROM credit_lots
    UNION ALL SELECT user_id, 'draws' FROM credit_lot_draws
    UNION ALL SELECT user_id, 'returns' FROM credit_lot_returns
    UNION ALL SELECT user_id, 'holds' FROM credit_holds
    UNION ALL SELECT user_id, 'operations' FROM credit_operations
    UNION ALL SELECT user_id, 'tokens' FROM access_tokens WHERE user_id IS NOT NULL
    UNION ALL SELECT user_id, 'sessions' FROM dashboard_sessions WHERE user_id IS NOT NULL
) AS owned
LEFT JOIN users u ON u.id = owned.user_id
WHERE u.id IS NULL
GROUP BY owned.user_id, owned.what
ORDER BY owned.user_id, owned.what
