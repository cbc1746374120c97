-- The newest :limit ledger entries booked from :since until before :until (null: no bound), of user :user_id or (null) of all.
SELECT id, recorded_at, user_id, email, kind, amount, balance_after, version, period_start, event_id, lot_id, reason, actor
FROM v_ledger_entries
WHERE (CAST(:user_id AS bigint) IS NULL OR user_id = CAST(:user_id AS bigint))
    AND (CAST(:since AS timestamptz) IS NULL OR recorded_at >= CAST(:since AS timestamptz))
    AND (CAST(:until AS timestamptz) IS NULL OR recorded_at < CAST(:until AS timestamptz))
ORDER BY recorded_at DESC, user_id, version DESC
LIMIT :limit
