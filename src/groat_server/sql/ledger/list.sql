-- One user's ledger entries, newest first, before a cursor.
SELECT id, kind, amount, recorded_at, period_start, balance_after, version, event_id, lot_id, reason, actor
FROM credit_ledger_entries
WHERE user_id = :user_id AND (CAST(:before_version AS bigint) IS NULL OR version < CAST(:before_version AS bigint))
ORDER BY version DESC
LIMIT :limit
