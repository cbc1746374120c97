-- Of an anonymised user no name, address, text or valid token is left.
WITH told AS (
    SELECT id AS user_id, 'a name, an address or rights' AS what FROM users
    WHERE email !~ '^anonymous-.*@users[.]invalid$' OR full_name IS NOT NULL OR external_id IS NOT NULL OR is_admin
    UNION ALL
    SELECT user_id, 'texts on events' FROM credit_usage_events
    WHERE description IS NOT NULL OR session_id IS NOT NULL OR metadata IS NOT NULL
    UNION ALL
    SELECT user_id, 'texts on voided events' FROM voided_credit_usage_events
    WHERE description IS NOT NULL OR session_id IS NOT NULL OR metadata IS NOT NULL OR void_reason IS NOT NULL
    UNION ALL
    SELECT user_id, 'reasons in the ledger' FROM credit_ledger_entries WHERE reason IS NOT NULL
    UNION ALL
    SELECT user_id, 'reasons on lots' FROM credit_lots WHERE reason IS NOT NULL
    UNION ALL
    SELECT user_id, 'descriptions of holds' FROM credit_holds WHERE description IS NOT NULL
    UNION ALL
    SELECT user_id, 'reasons in the audit log' FROM audit_log WHERE details ? 'reason'
    UNION ALL
    SELECT user_id, 'valid or named tokens' FROM access_tokens WHERE revoked_at IS NULL OR name <> ''
    UNION ALL
    SELECT user_id, 'sessions' FROM dashboard_sessions WHERE ended_at IS NULL OR user_agent <> ''
)
SELECT 'user ' || u.id AS subject, 'is anonymised and has ' || told.what AS finding
FROM users u
JOIN told ON told.user_id = u.id
WHERE u.anonymised_at IS NOT NULL
GROUP BY u.id, told.what
ORDER BY u.id, told.what
